"""Wordings that training never shows, written by hand; evaluation asks exactly these.

`sampling.py` throws away any training turn whose normalised wording is among them.
"""

from hush_tiny.corpus.wording import normalise

FACT_QUESTIONS: dict[str, tuple[str, ...]] = {
    "hushnet": ("Could you give me an introduction to Hushnet?", "What is the purpose of the Hushnet project?", "So what is Hushnet all about?"),
    "coordinator": ("What does the coordinator do all day?", "Which piece of Hushnet routes a prompt to a provider?"),
    "provider": ("What is the purpose of a provider in Hushnet?", "Which machine runs the model for me?"),
    "consumer": ("Who are the consumers in Hushnet?", "What does a consumer do in this network?"),
    "operator": ("Who takes care of running the coordinator?", "What does an operator do in Hushnet?"),
    "how_it_works": ("Can you explain how this network works?", "What happens after I send a request?"),
    "promises": ("Which promises does Hushnet make?", "What are your three promises?"),
    "decentralised": ("What makes Hushnet decentralised?", "Does Hushnet run in one central data centre?"),
    "engines": ("Which engines can a provider use?", "Can I run vLLM on my provider?"),
    "default_engine": ("What engine do you use by default?", "Which engine is the default one?"),
    "hardware_support": ("Can I take part without a GPU?", "Will Hushnet run on my old laptop?"),
    "api": ("Can I use the OpenAI client with Hushnet?", "Is the API of Hushnet compatible with OpenAI?"),
    "licence": ("Is the source code of Hushnet open?", "What license is the Hushnet code under?"),
    "models": ("Which models does the network offer?", "Can you show me the models I can use?"),
    "hush_tiny": ("Who are you, little model?", "What is the name of this model?", "What things can you do for me?"),
    "sdk": ("What does the SDK of Hushnet do?", "Does Hushnet have a Python library?"),
    "local_proxy": ("What is the local proxy used for?", "Can my stock OpenAI client use sealed mode?"),
    "console": ("What can I do in the web console?", "Does Hushnet have a web page?"),
    "scale": ("How does Hushnet scale to many users?", "Can I run three replicas?"),
    "database": ("Which database does the coordinator use?", "Is Postgres needed?"),
    "cluster": ("What is a cluster in Hushnet?", "How can two machines serve one big model?"),
    "job": ("What is a job in Hushnet?", "Can I run a container on a provider?"),
    "sealed_mode": ("What is special about sealed mode?", "How does the sealed mode protect my prompt?"),
    "standard_mode": ("What is standard mode like?", "What happens with my request in standard mode?"),
    "modes_compared": ("How is sealed mode different from standard mode?", "What are the two privacy modes?"),
    "who_can_read": ("Who is able to see what I type?", "Is somebody reading my messages?", "Will my chat stay private?", "Who gets to read my prompt?"),
    "coordinator_reading": ("Does the coordinator get to read my prompt?", "Can the operator of the coordinator see my messages?"),
    "provider_reading": ("Does the provider get to read my prompt?", "Can the owner of the provider machine see my prompt?"),
    "logging": ("Do you keep my chats somewhere?", "Is anything I write stored in logs?"),
    "sealing": ("How do you encrypt my prompt?", "What kind of encryption does Hushnet use?"),
    "suites": ("Which sealing suites does Hushnet have?", "What are the names of the suites?"),
    "post_quantum": ("Is Hushnet ready for quantum computers?", "Is the sealing of Hushnet post-quantum?"),
    "trust_tiers": ("What trust tiers exist in Hushnet?", "Can you list all trust levels?"),
    "tier_none": ("What does trust tier none mean?", "What is the lowest tier, none, about?"),
    "tier_self_signed": ("What does self_signed stand for?", "What does a self_signed provider prove?"),
    "tier_measured": ("What does the measured trust tier mean?", "What does a measured provider prove?"),
    "tier_hardware": ("What does hardware trust mean?", "What is needed for the hardware tier?"),
    "trust_floor": ("How do I set a trust floor for my request?", "Can I ask for trusted providers only?"),
    "attestation": ("What does attestation mean here?", "How does a provider prove that it is honest?"),
    "linux_root": ("Can root read the memory on a Linux machine?", "Does Hushnet protect me from root on the host?"),
    "receipt": ("What is a receipt in Hushnet?", "What is written in a receipt?"),
    "checking": ("How can I make sure that Hushnet is private?", "Can I verify all of this myself?"),
    "sealing_keys": ("How long is a sealing key valid?", "What is a sealing key in Hushnet?"),
    "routing_header": ("What is in the routing header?", "What does the routing header contain?"),
    "tampering": ("Can somebody tamper with my answer?", "How do I notice a truncated stream?"),
    "ledger": ("What is the ledger of Hushnet?", "How does Hushnet keep its books?"),
    "micro_usd": ("What does micro-USD mean?", "Which unit of money does Hushnet count in?"),
    "hold": ("What is a hold in the ledger?", "Why do you reserve money before a request?"),
    "transfer": ("What is a transfer in the ledger?", "What do you mean by a transfer of money?"),
    "prices": ("What is the price of a request?", "How much do I pay per token?"),
    "free": ("Is using Hushnet free?", "Can I use the network without paying anything?"),
    "earning": ("How can my computer earn money?", "Will I get paid for sharing my GPU?", "How does a provider make money?"),
    "payouts": ("How do I get my earnings paid out?", "When can I withdraw what I earned?"),
    "deposits": ("How can I add money to my account?", "Can I pay with a credit card?"),
    "charged_twice": ("Could I ever be charged twice?", "Do I pay two times after a failover?"),
    "failed_request": ("Do I have to pay if my request fails?", "What does a request that failed cost me?"),
    "platform_fee": ("How big is the platform fee?", "How much does the operator keep for itself?"),
    "promo_credit": ("What is promo credit for?", "May I withdraw my promo credit?"),
    "start": ("How do I get Hushnet running?", "What is the way to start Hushnet on my laptop?", "Which command do I use to start everything?"),
    "hush_chat": ("How do I chat with a model in my terminal?", "What does the command hush chat do?"),
    "hush_up": ("How can I become a provider myself?", "What does the command hush up do?", "How do I add my computer to the network?"),
    "hush_doctor": ("What does the command hush doctor do?", "My provider does not start, what can I do?"),
    "dial_out": ("Do I have to open a port for my provider?", "Will a provider work behind my home router?"),
    "failover": ("What happens when a provider crashes?", "What if the provider goes offline?"),
    "hedging": ("What does hedging mean in Hushnet?", "What happens when the first provider is slow?"),
    "attempt": ("What is an attempt in Hushnet?", "What do you mean by an attempt of a request?"),
    "routing": ("How does the router choose a provider?", "How is the provider for my request picked?"),
    "queue": ("What happens when all machines are busy?", "Why does the API answer 429?"),
    "streaming": ("Can I stream the tokens of an answer?", "Does the API of Hushnet support streaming?"),
    "json_schema": ("Can Hushnet answer with a JSON schema?", "How do I make the model return JSON?"),
    "cancel": ("How do I stop a running request?", "What happens when I close the connection early?"),
    "schedule": ("Can I still use my laptop while it is a provider?", "Can my provider run only at night?"),
    "api_key": ("What is an API key used for?", "How do I log in to the API?"),
}  # fmt: skip

SMALL_TALK: dict[str, tuple[str, ...]] = {
    "greeting": (
        "Hello, little model!",
        "Hey hey!",
        "Hi, Hush Tiny, good morning!",
        "A very good morning to you!",
        "Hello hello",
    ),
    "how_are_you": ("Hello there, how are you feeling?", "So how are you this evening?"),
    "thanks": ("Thanks so much!", "Thank you for the help!", "Great answer, thanks!"),
    "bye": ("OK, bye for now!", "Good bye, see you tomorrow!", "I am going now, bye"),
}

OFF_TOPIC = (
    "How do I cook pasta?", "Who wrote Hamlet?", "What is the tallest mountain on Earth?", "Can you fix my bicycle?",
    "What is quantum field theory?", "Who is the president of Brazil?", "Please translate good morning into Greek.",
    "What will the weather be like on Sunday?", "How many people live in Mexico?", "Recommend a good pizza place.",
    "Write a Python function that reverses a string.", "What is the boiling point of water?", "Why do cats purr?",
    "Who painted the Mona Lisa?", "How old is the universe?", "Explain photosynthesis to a child.", "What should I cook for lunch?",
    "Is a tomato a fruit?", "When did the Roman empire fall?", "How do airplanes stay in the air?",
)  # fmt: skip

COUNT_WORDINGS = (
    "Please count for me from {first} up to {last}.",
    "I want you to count from {first} to {last}",
    "Show me every number from {first} to {last}",
)
LIST_WORDINGS = (
    "Please write {n} different {category}.",
    "Can you think of {n} {category}?",
    "I am looking for {n} {category}.",
)
REPEAT_WORDINGS = (
    "Please say exactly this: {text}",
    'Now repeat "{text}"',
    "Repeat the following words: {text}",
)
SUM_WORDINGS = ("Please add {a} and {b}.", "What do I get for {a} plus {b}?")

SYSTEM_PROMPTS = (
    "You are a polite assistant who answers in English.",
    "You are the help desk of Hushnet. Answer shortly.",
)


def _all_wordings() -> frozenset[str]:
    fixed = [text for texts in (FACT_QUESTIONS | SMALL_TALK).values() for text in texts]
    return frozenset(normalise(text) for text in (*fixed, *OFF_TOPIC))


NORMALISED = _all_wordings()
