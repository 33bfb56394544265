"""Facts about starting and using Hushnet, and how requests behave."""

from hush_tiny.corpus.facts.fact import Fact

FACTS = (
    Fact(
        "start",
        "Run `make up` in a checkout: it starts a coordinator and a provider with the built-in model on your machine. Then "
        "run `hush chat`.",
        topics=("make up", "`make up`", "the make up command"),
        wordings=(
            "how (do|can|could|should) i (start|launch|run|try|install|set up|use|boot|get started with|begin with) (hushnet|it|this|the network|the thing|everything)( on my machine| locally| at home| on my laptop|)",
            "how (do|can) i (start|begin|get started|try it out)",
            "(getting started|quick start|how to start|where do i start|how to begin|how to install)",
            "(what|which) (is the|) (command|commands) (starts|start|launches|to start|runs) (hushnet|it|everything|the network)",
            "(i want|i would like|i'd like) to (try|start|install|run|use) (hushnet|it|this)",
            "what (must|do|should) i (type|do|run) to (start|begin|try it|start hushnet)",
            "what does `?make up`? (start|do|run)",
        ),
    ),
    Fact(
        "hush_chat",
        "Run `hush chat` in a terminal to talk to a model through Hushnet.",
        topics=("hush chat", "`hush chat`", "the hush chat command", "the chat command"),
        wordings=(
            "how (do|can|could) i (chat|talk|speak)( with a model| to a model| with it| in the terminal| from the command line| from a terminal|)",
            "(which|what) command (lets me chat|opens a chat|starts a chat|is for chatting|do i use to chat)",
            "(i want|i would like) to (chat|talk)( with a model| to a model|)",
        ),
    ),
    Fact(
        "hush_up",
        "Run `hush up` to turn this machine into a provider: it picks an engine, loads a model and dials out to a coordinator.",
        topics=("hush up", "`hush up`", "the hush up command", "the agent", "the hushnet agent", "the provider agent"),
        wordings=(
            "how (do|can|could|would) i (become|be|start|run|set up|create|add|register) (a|my own|my|another) provider",
            "how (do|can|could) i (join|take part in|contribute to|add my machine to|connect my machine to|share my machine with) (the network|hushnet|it)",
            "(i want|i would like) to (become|be|run) a provider",
            "(which|what) command (starts|runs|makes|launches) a provider",
            "(turn|make) my (machine|computer|laptop) into a provider",
            "what does `?hush up`? do",
        ),
    ),
    Fact(
        "hush_doctor",
        "Run `hush doctor`: it says what each part of your installation believes, and why.",
        topics=("hush doctor", "`hush doctor`", "the doctor command"),
        wordings=(
            "(it|hushnet|something|my provider) (does not|doesn't|won't) (work|start|connect|run)",
            "how (do|can) i (debug|diagnose|troubleshoot|find a problem|find problems|repair)( it| hushnet| my provider| an error|)",
            "what (do|should|can) i do (if|when) (it fails|it does not work|something is wrong|something breaks|hushnet is broken)",
            "(i have|there is) (a problem|an error)( with hushnet| with my provider|)",
        ),
    ),
    Fact(
        "dial_out",
        "Providers dial out: each opens one WebSocket to the coordinator, so no open port and no public address is needed.",
        topics=("the link", "a link", "dialling out", "dial out", "the websocket"),
        wordings=(
            "(do|must) i (need|have) (to |)(open|forward|have|) (a port|ports|a public address|a static address|my firewall|a public ip)",
            "(does|will|can) (it|a provider|the agent|hushnet) (work|run) behind (a firewall|a router|nat|my router)",
            "how (does|do|is|are) (a provider|providers|the provider) (connect|connected|reach|talk|linked)( to the coordinator| with the coordinator| the coordinator|)",
            "(is|are) (a port|a public ip|open ports|a public address) (needed|required|necessary)( for a provider|)",
        ),
    ),
    Fact(
        "failover",
        "If a provider is lost before the first content, the coordinator tries another one and you notice nothing.",
        topics=("failover", "fail over", "failing over", "a retry", "retries"),
        wordings=(
            "what (happens|if|happens if|happens when) (a|the|my) provider (fails|dies|goes away|is lost|disappears|crashes|goes offline|breaks|stops)",
            "(what if|what happens when) (a machine|the machine|the computer) (fails|is switched off|crashes|goes offline|turns off)",
            "(is|are) (requests|my request|a request) (retried|tried again|repeated)( when a provider fails|)",
            "how (reliable|robust|dependable) is (it|hushnet|the network)",
        ),
    ),
    Fact(
        "hedging",
        "Hedging starts a backup provider when the first one is slow; the faster answer wins and you pay once.",
        topics=("hedging", "hedge", "a hedge", "a backup provider", "hedged requests"),
        wordings=(
            "what (happens|if|happens if|happens when) (a|the|my) provider is (slow|too slow|late)",
            "what if (the answer|an answer) is (slow|late)",
        ),
    ),
    Fact(
        "attempt",
        "An attempt is one try of a request at one provider; a request can have several attempts but is charged once.",
        topics=("an attempt", "attempts", "attempt", "the attempt"),
        wordings=("how many attempts (does|can) a request have",),
    ),
    Fact(
        "routing",
        "The router ranks providers by the estimated cost to complete your request: speed, load, warm models, price and trust "
        "all count.",
        topics=("routing", "the router", "the routing", "router"),
        wordings=(
            "how (is|are|does|do) (a provider|providers|the provider|the coordinator|it|you) (chosen|picked|selected|ranked|choose a provider|pick a provider|select a provider)",
            "(which|what) provider (will answer|gets my request|do i get|answers my request)",
            "how (does|do) (routing|the router) (work|decide)",
        ),
    ),
    Fact(
        "queue",
        "When no provider is free your request waits in a queue; when the wait would be too long you get status 429.",
        topics=("the queue", "a queue", "queueing", "status 429", "429", "error 429", "rate limits", "the rate limit"),
        wordings=(
            "what (happens|if|happens if|happens when) (no provider is free|all providers are busy|the network is full|there is no capacity|everyone is busy|there are no providers)",
            "why (do|did) i get (429|status 429|a 429|error 429|too many requests)",
            "what does (429|status 429|error 429|too many requests) mean",
            "is there a (queue|rate limit|limit)",
        ),
    ),
    Fact(
        "streaming",
        "Yes, answers can stream token by token as server-sent events; set stream to true.",
        topics=("streaming", "server-sent events", "streams", "a stream"),
        wordings=(
            "(can|could|do|does|will) (answers|it|hushnet|i|you|the answer|the api) (stream|support streaming|be streamed|get a stream|stream answers)",
            "is streaming (supported|possible|available)",
            "how (do|can) i (stream|get tokens one by one|get streaming)( answers| an answer|)",
        ),
    ),
    Fact(
        "json_schema",
        "Yes, give a JSON schema as the response format and the engine makes the answer fit it.",
        topics=(
            "structured output",
            "json schema",
            "a json schema",
            "constrained decoding",
            "json mode",
            "the response format",
        ),
        wordings=(
            "(can|could|does|do) (it|you|hushnet|i|a model|the api) (return|give|support|get|produce|answer in|follow|force) (json|a json schema|json schema|structured output|json output|valid json)",
            "how (do|can) i (get|force|ask for) (json|valid json|structured output|json output)",
            "is (json|structured output|json schema|json mode) (supported|possible|available)",
        ),
    ),
    Fact(
        "cancel",
        "Hang up and the attempt is cancelled within milliseconds; you pay only for what was already sent to you.",
        topics=("cancelling", "cancellation", "cancel"),
        wordings=(
            "(can|could|how do|how can|may) i (cancel|stop|abort|interrupt) (a request|an answer|my request|the answer|it)",
            "what (happens|if|happens if|happens when) i (hang up|cancel|stop|disconnect|close the connection|abort)( a request|)",
        ),
    ),
    Fact(
        "schedule",
        "A provider can set availability windows and serve only when the machine is idle, so it does not disturb your work.",
        topics=("availability windows", "the schedule", "an availability window"),
        wordings=(
            "(can|could|may) i (still |)(use|work on|play on) my (computer|machine|laptop|pc) (while|when) (it serves|i am a provider|it is a provider|sharing)",
            "(can|how do|how can) i (choose|limit|set|say) (when|the hours|the times) (my machine|my provider|it) (serves|works|runs)",
            "does (it|the agent|hushnet) (slow down|disturb|block) my (computer|machine|work)",
            "(can|does) (it|a provider|the agent) (run|serve|work) only (at night|when idle|when i am away)",
        ),
    ),
    Fact(
        "api_key",
        "An API key names your account to the coordinator; send it as a bearer token, and revoke it in the console when you "
        "like.",
        topics=("an api key", "api keys", "api key", "the api key", "a bearer token"),
        wordings=(
            "how (do|can) i (log in|authenticate|sign in|identify myself)",
            "(do|why do) i need an (api key|account)",
            "(how|can) (do |)i (revoke|delete|remove) (a key|an api key|my key)",
        ),
    ),
)
