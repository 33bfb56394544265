"""Facts about what Hushnet is and who takes part."""

from hush_tiny.corpus.facts.fact import Fact

FACTS = (
    Fact(
        "hushnet",
        "Hushnet is a decentralised private inference network: people share machines they own, and you get answers from "
        "open models without anyone in between reading a sealed prompt.",
        topics=(
            "hushnet",
            "the hushnet network",
            "hushnet network",
            "the hush network",
            "this network",
            "this product",
        ),
        wordings=(
            "(what kind of|which kind of|what sort of) (system|product|network|thing|project|software) is (hushnet|this)",
            "(so|) what (is|does) (this|this project|your network|the network)( do| about|)",
            "what (is|does) (hushnet|the project|this service) (about|do|offer|provide)",
            "what (problem|need) does hushnet (solve|address|meet)",
            "(introduce|present|summarise|summarize) hushnet( to me| for me|)",
            "(what is|tell me) (the idea|the purpose|the goal|the point) (of|behind) (hushnet|this network|the project)",
            "(in a nutshell|in short|in simple words|in plain words), what is hushnet",
            "(hushnet|this network|what) (is|was|got) (built|made|created) for what",
            "how would you describe hushnet( to a friend| to a child| to a newcomer|)",
            "i am new( here|), what is (this|hushnet)",
        ),
        more="A coordinator routes and bills each request, providers run the models, and consumers use any OpenAI client. "
        "In sealed mode the coordinator cannot read what it carries.",
    ),
    Fact(
        "coordinator",
        "The coordinator is the control plane of Hushnet: it keeps accounts, routes each request to a provider, bills it, "
        "and fails over when a provider is lost.",
        topics=("a coordinator", "the coordinator", "coordinator", "coordinators", "the hushnet coordinator"),
        wordings=(
            "what is the (job|role|task|purpose|work) of (a|the) coordinator",
            "(which|what) (part|component) (routes|bills|schedules) (requests|my requests|the requests|prompts)",
            "(who|what) (routes|directs|dispatches|hands out) (a request|requests|my request|prompts)( to providers| to a provider|)",
            "(who|what) (picks|chooses|selects|finds) (a|the) provider( for me| for my request|)",
            "how does the coordinator (work|help|take part)",
            "what is the control plane( of hushnet|)",
            "why (do we need|is there|do you have) a coordinator",
        ),
        more="It can be one process on a laptop or many replicas on Postgres and NATS.",
    ),
    Fact(
        "provider",
        "A provider is a machine that runs the Hushnet agent: it dials out to a coordinator, proves what it is, serves "
        "models and earns money.",
        topics=("a provider", "the provider", "provider", "providers", "a hushnet provider", "the providers"),
        wordings=(
            "what is the (job|role|task|work) of (a|the) provider",
            "(who|what) (runs|serves|hosts|executes) the models",
            "(where|on which machines|on what machines) (do|are) the models (run|running|hosted|served)",
            "(who|which machine|what machine) (answers|computes|generates|writes) (my prompt|my prompts|my question|the answer|the answers)",
            "who (does|performs|runs) the (inference|computing|actual work)",
            "how does a provider (work|take part)",
        ),
        more="The agent runs an engine such as llama.cpp, answers sealed requests, and is paid for each one.",
    ),
    Fact(
        "consumer",
        "A consumer is a person or program that sends prompts: point any OpenAI or Anthropic client at a coordinator and "
        "it works.",
        topics=("a consumer", "the consumer", "consumer", "consumers", "a hushnet consumer"),
        wordings=(
            "what is the (role|part) of (a|the) consumer",
            "who (sends|writes|asks|makes) (the prompts|prompts|the requests|requests)",
            "who (uses|is using|can use) (hushnet|the network)",
            "(who|which people|what people) (are|is) the (users|user|customers|customer|clients)( of hushnet|)",
        ),
    ),
    Fact(
        "operator",
        "An operator runs a coordinator: accounts, routing, attestation, billing and the model catalogue.",
        topics=("an operator", "the operator", "operator", "operators", "a hushnet operator"),
        wordings=(
            "who (runs|operates|hosts|administers|manages|owns) (a|the) coordinator",
            "what is the (job|role|task) of (an|the) operator",
            "who (is in charge of|administers|looks after|manages|runs) (the network|hushnet|accounts and billing)",
        ),
    ),
    Fact(
        "how_it_works",
        "You send a request to a coordinator. It holds enough money, picks a provider and relays the sealed request; the "
        "provider answers, and you pay for what you got.",
        wordings=(
            "how does (hushnet|the network|it|this|this network|it all|the whole thing) (work|function)",
            "how (do|does) (hushnet|the network) (answer|handle|process) (a request|my prompt|requests|a prompt)",
            "what happens (to|with) (a|my) (request|prompt)( in hushnet| after i send it|)",
            "what happens when i (send|submit|make) a (request|prompt|question)",
            "(explain|describe|tell me|show me) how (hushnet|the network|it|this) works",
            "(explain|describe|tell me about|what is) the life of a request",
            "(walk|take) me through (a request|the life of a request|how it works)",
            "(what are|list|name) the steps of a request",
            "(which|what) (path|way|route) does (a|my) request take",
        ),
    ),
    Fact(
        "promises",
        "Hushnet makes three promises, in order: privacy, correctness of money, and speed. When two collide, the earlier "
        "one wins.",
        topics=("the promises", "the three promises", "the promises of hushnet", "hushnet's promises", "your promises"),
        wordings=(
            "what does hushnet (promise|guarantee)",
            "what (are|do you call) the (goals|priorities|values|principles) of hushnet",
            "(what|which) (is|comes|matters) (more important|most|first|first in hushnet)( for hushnet| in hushnet|)",
            "is (privacy|speed|money) more important than (speed|money|privacy)",
            "which (promise|goal|priority) (wins|comes first)",
            "how many promises (are there|does hushnet make)",
        ),
    ),
    Fact(
        "decentralised",
        "Hushnet is decentralised because the models run on machines of many independent providers, not in one data centre.",
        topics=("decentralised", "decentralized", "decentralisation", "decentralization", "decentralised inference"),
        wordings=(
            "why is (hushnet|it|the network) (decentralised|decentralized|distributed)",
            "(in what way|how|is|how exactly) (is hushnet|hushnet|is the network) (decentralised|decentralized|distributed)",
            "is (hushnet|there) (one|a single|a central) (data centre|data center|server|cloud)",
            "does hushnet (have|use|own|run in) (a data centre|one data center|a cloud|its own servers|servers)",
            "(where is|where are) (hushnet|the servers|your servers|the computers|the data centre) (located|hosted|running)",
        ),
    ),
    Fact(
        "engines",
        "An engine is the program that runs a model. llama.cpp is the default; vLLM, MLX, transformers and any local OpenAI "
        "server work too.",
        topics=("an engine", "the engine", "engine", "engines", "the engines", "an inference engine"),
        wordings=(
            "(which|what) engines (are supported|do you support|does hushnet support|can i use|work|exist|are there)",
            "(which|what) (inference engines|runtimes|back ends|backends) (are supported|does it support|can i use|work)",
            "(can|could) (i|a provider|we) use (vllm|mlx|transformers|another engine|ollama|my own engine)",
            "does (hushnet|it|a provider) (support|work with|run|run on) (vllm|mlx|transformers|ollama|other engines)",
            "what (runs|executes|loads) (a|the) model( on a provider| on my machine|)",
            "(vllm|mlx|what is vllm|what is mlx)",
        ),
    ),
    Fact(
        "default_engine",
        "The default engine is llama.cpp: it runs on almost any machine, with or without a GPU.",
        topics=("the default engine", "llama.cpp", "llama cpp", "default engine"),
        wordings=(
            "(which|what) (engine|runtime|software) (is|does|do) (the default|used by default|hushnet use by default|you use by default|it use)",
            "(which|what) engine (do i get|is used) (when i choose nothing|if i choose nothing|at first|normally|out of the box)",
            "(do you|does hushnet|does it) (use|run|rely on|support) llama.cpp",
        ),
    ),
    Fact(
        "hardware_support",
        "No GPU is needed: Hushnet runs on NVIDIA, AMD, Apple and plain CPU machines.",
        topics=("the supported hardware", "supported hardware", "the hardware requirements"),
        wordings=(
            "do i (need|require|have to have|have to own) (a gpu|an nvidia card|a graphics card|special hardware|a big machine|a fast computer)",
            "is a (gpu|graphics card) (needed|required|necessary)",
            "(can|could|will|does) (it|hushnet|the agent|a provider) (run|work) (on|with) (a cpu|my laptop|a mac|amd|nvidia|apple silicon|only a cpu|a plain cpu|an old computer)",
            "(which|what) (hardware|machines|computers|gpus|graphics cards) (are supported|does it support|does hushnet support|work|can i use|do i need)",
            "(can|may) i (use|take part with|join with) (my laptop|a mac|a macbook|an amd card|an old pc)",
            "does it work without a (gpu|graphics card)",
        ),
    ),
    Fact(
        "api",
        "Hushnet speaks the OpenAI API and the Anthropic API: change the base URL and the key of your client and it works.",
        topics=(
            "the api",
            "the hushnet api",
            "the openai api",
            "api compatibility",
            "the anthropic api",
            "openai compatibility",
        ),
        wordings=(
            "is (it|hushnet|the api|the coordinator) (openai|anthropic) compatible",
            "is (it|hushnet|the api) compatible with (openai|anthropic|the openai api|my client|the openai client)",
            "(can|may|could|how do|how can) i (use|keep using|connect|point) (an openai client|my openai client|the openai library|an anthropic client|the openai sdk|existing tools|my tools)( with it| with hushnet|)",
            "(which|what) (api|apis|protocol|dialects) (does it speak|does hushnet speak|are supported|do you support|can i use|do you offer)",
            "(which|what) (clients|libraries|programs) (work|can i use|are supported)( with hushnet|)",
            "how (do|can) i (call|use|reach|query) (hushnet|it|the network|a model) (from|in|with) (python|code|my program|my app|javascript|curl)",
            "do i (have|need) to (change|rewrite) my (code|program|app|client)",
            "(what is|where do i set|what about) the base url",
        ),
    ),
    Fact(
        "licence",
        "Hushnet is open source under the Apache-2.0 licence.",
        topics=(
            "the licence",
            "the license",
            "the licence of hushnet",
            "the hushnet license",
            "apache-2.0",
            "the apache licence",
        ),
        wordings=(
            "(which|what) (licence|license) (does it have|does hushnet use|is it under|is hushnet under|applies|is used)",
            "(is|are) (it|hushnet|the code|the project|you) (open source|free software|open|proprietary|closed source)",
            "(can|may) i (read|see|change|fork|copy|modify|inspect|use) the (source code|code|source)( of hushnet|)",
            "how is (hushnet|it|the code) licensed",
            "under (which|what) (licence|license|terms) (is|was) (it|hushnet|the code) (published|released|available)",
            "(where is|is there) the source code",
        ),
    ),
    Fact(
        "models",
        "Hushnet serves open models: the catalogue lists them, each as exact files with hashes, and hush-tiny is built in.",
        topics=("the models", "the model catalogue", "the catalogue", "the catalog", "a model"),
        wordings=(
            "(which|what) models (are there|can i use|are available|do you have|does hushnet serve|does hushnet have|exist|are supported|are offered)",
            "(list|show|name|tell me) (the|all|your) (available |supported |)models",
            "(can|could) i (use|run|choose) (another|a bigger|a different|my own|a larger) model",
            "(is|are) there (other|bigger|better|larger) models",
            "how (do|can) i (see|find|choose|pick) a model",
        ),
    ),
    Fact(
        "hush_tiny",
        "I am Hush Tiny, a very small language model made for Hushnet. I can greet, answer questions about Hushnet, count, "
        "list, repeat and fill in JSON.",
        topics=("hush tiny", "hush-tiny", "the built-in model", "the hush-tiny model"),
        wordings=(
            "(who|what) are you( exactly| really|)",
            "(what is|what's|tell me|may i know|can i have) your name",
            "(which|what) model (are you|is this|am i talking to|answers here)",
            "(introduce|describe|present) yourself",
            "(tell me|say something|talk) about yourself",
            "(who|what) am i (talking|speaking|chatting) (to|with)",
            "what (can|could) you (do|do for me|help with|help me with)",
            "what (are you able to do|are your abilities|are your skills|can i ask you|should i ask you|do you know)",
            "how can you help( me|)",
            "are you (a robot|a human|human|a person|an ai|a bot|a computer|real|a machine|a language model|chatgpt)",
            "(help|help me)",
            "how (big|small|large) are you",
            "(who|what) (made|built|trained|created) you",
            "(what is|explain) this model",
        ),
    ),
    Fact(
        "sdk",
        "The SDK is the consumer library: it checks provider keys, seals requests on your machine and verifies receipts.",
        topics=("the sdk", "sdk", "the consumer library", "the hushnet sdk", "the python sdk"),
        wordings=(
            "is there (an sdk|a library|a python library|a client library)",
            "(which|what) library (seals|checks|verifies) (requests|keys|receipts)( for me|)",
        ),
    ),
    Fact(
        "local_proxy",
        "The local proxy seals requests on your own machine, so that a stock OpenAI client can use sealed mode.",
        topics=("the local proxy", "the sealing proxy", "local proxy", "the local sealing proxy", "a sealing proxy"),
        wordings=(
            "(how|can) (do|can|could|i|) (i |)(use|get|have) sealed mode with (my|a stock|an|a normal|an ordinary) (openai |)client",
            "how (does|can) (a stock client|an ordinary client|my old client|a normal client|my openai client) (use sealed mode|seal|seal requests)",
        ),
    ),
    Fact(
        "console",
        "The console is the web page of Hushnet: chat, API keys, usage, earnings and providers in one place.",
        topics=("the console", "the web console", "console", "the dashboard", "the web interface"),
        wordings=(
            "is there (a web page|a website|a web interface|a dashboard|a gui|a user interface)",
            "where (can|do) i (see|find|look at|check) my (usage|keys|earnings|providers|requests)",
            "(how|where) (do|can) i (make|create|get) an api key",
        ),
    ),
    Fact(
        "scale",
        "One coordinator process is enough for a laptop; for more, run many replicas that share Postgres and NATS.",
        topics=("replicas", "a replica", "scaling", "scale", "the replicas"),
        wordings=(
            "(how|does|can|will) (does |)(it|hushnet|the coordinator|the network) scale( up| out|)",
            "(can|could|how do|how can) i run (several|many|two|more) (coordinators|replicas)",
            "how (many|big) (users|requests|can it get|can it grow|providers can it handle)",
            "(what|how) (if|when) (one coordinator is too small|one coordinator is not enough|i have many users)",
        ),
    ),
    Fact(
        "database",
        "SQLite is the default database; Postgres is used for anything shared.",
        topics=("the database", "the storage", "sqlite", "postgres"),
        wordings=(
            "(which|what) database (does it use|does hushnet use|is used|do i need|do you use|is the default)",
            "where (is|are) (the data|the books|accounts|data|my account|the ledger) (stored|kept|saved)",
            "do i (need|have to install) (postgres|a database|a database server)",
        ),
    ),
    Fact(
        "cluster",
        "A cluster is a group of nodes that serve one model together, for models too big for one machine.",
        topics=("a cluster", "clusters", "cluster", "the clusters", "distributed inference"),
        wordings=(
            "(can|could|how can|how do) (several|many|two|more) machines (serve|run|share) one model( together|)",
            "what if a model is too (big|large) for (one machine|my machine)",
            "how (are|can) (big|large|huge) models (be |)(served|run)",
        ),
    ),
    Fact(
        "job",
        "A job is a batch or container run; a provider holds it by a lease for a limited time.",
        topics=("a job", "jobs", "job", "a batch job", "container jobs", "a lease", "leases"),
        wordings=(
            "(can|could|how do|how can) i (run|start|submit) (a container|a batch|a job|batch jobs|containers)",
            "(what|who) holds a job",
        ),
    ),
)
