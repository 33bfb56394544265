"""Facts about privacy: modes, sealing, trust tiers, receipts."""

from hush_tiny.corpus.facts.fact import Fact

FACTS = (
    Fact(
        "sealed_mode",
        "In sealed mode only you and the provider that answers can read the prompt; the coordinator routes, bills and fails "
        "over without being able to read it.",
        topics=("sealed mode", "the sealed mode", "sealed", "a sealed request", "sealed requests", "sealing mode"),
        wordings=(
            "how does sealed mode (work|protect me|help|keep me safe)",
            "(what|when) (happens|changes) in sealed mode",
            "who can read (my prompt|a prompt|prompts|it|my messages) in sealed mode",
            "(why|when) should i use sealed mode",
            "(is|how private is|how safe is) sealed mode( private| safe|)",
            "(which|what) mode is (more private|the most private|the safest|end to end encrypted)",
            "is (it|hushnet|there|my prompt) end to end (encrypted|encryption)",
        ),
        more="Your own machine encrypts the request for the keys of chosen providers, and the answer comes back encrypted "
        "too. You can check the keys and the receipt.",
    ),
    Fact(
        "standard_mode",
        "In standard mode a stock client talks over TLS, and the coordinator's memory can read the request while it seals "
        "it for the provider.",
        topics=(
            "standard mode",
            "the standard mode",
            "standard",
            "a standard request",
            "standard requests",
            "normal mode",
        ),
        wordings=(
            "how does standard mode (work|differ)",
            "who can read (my prompt|a prompt|prompts|it|my messages) in standard mode",
            "(what|when) (happens|changes) in standard mode",
            "(is|how private is|how safe is) standard mode( private| safe|)",
            "(which|what) mode (does|do) (a stock client|an ordinary client|my openai client|a normal client) use",
        ),
        more="The product says so wherever it shows a request. Use sealed mode if the coordinator must not read it.",
    ),
    Fact(
        "modes_compared",
        "Sealed mode: only you and the answering provider can read the prompt. Standard mode: the coordinator's memory can "
        "read it too.",
        topics=("the two modes", "the modes", "the difference between sealed and standard mode", "privacy modes"),
        wordings=(
            "(which|what|how many) (privacy |)modes (are there|exist|does hushnet have|do you have|can i choose)",
            "(what is|what's|explain|tell me) the difference between (sealed and standard|standard and sealed|the two modes|the modes|sealed mode and standard mode|standard mode and sealed mode)",
            "how (does|do|is|are) (sealed|sealed mode|the two modes) (differ|different)( from standard| from standard mode|)",
            "(compare|contrast) (sealed and standard|the two modes|sealed mode with standard mode|the modes)",
            "(sealed|sealed mode) (or|versus|vs) (standard|standard mode)",
            "should i (use|choose|pick) (sealed|sealed mode) or (standard|standard mode)",
        ),
    ),
    Fact(
        "who_can_read",
        "In sealed mode only you and the provider that answers can read your prompt. In standard mode the coordinator's "
        "memory can read it too.",
        wordings=(
            "who (can|could|may|is able to|will be able to) (read|see|look at|view) (my prompt|my prompts|my messages|my questions|what i write|what i send|my text|my data|my chat|my conversation)",
            "who (reads|sees) (my prompt|my prompts|my messages|what i write|what i send|my data)",
            "(can|could|does|will) (anyone|anybody|someone|somebody|other people|strangers|others) (read|see|look at|spy on) (my prompt|my prompts|my messages|what i write|my data|my chat)",
            "(is|are) (my prompt|my prompts|my messages|my data|my chat|my chats|my conversation|what i write|it|this chat) (private|safe|secret|secure|protected|confidential)",
            "how (private|safe|secure) (is|are) (my prompt|my data|my messages|hushnet|it|this|the network|my prompts)",
            "is (hushnet|it|the network|this) (private|safe|secure|confidential)",
            "do you (protect|guard|respect) my (privacy|data|prompts)",
            "what about (privacy|my privacy|my data|data protection)",
            "(privacy|my privacy)",
            "how does hushnet (protect|keep) my (privacy|prompts|data)( private| safe|)",
            "(where|who) (is|are|has) (my prompt|my prompts|my data) (readable|visible|access to my prompt)",
        ),
        more="You can check this yourself: provider keys are endorsed by a signed statement, and a receipt ends each attempt.",
    ),
    Fact(
        "coordinator_reading",
        "Not in sealed mode: there the coordinator sees only the routing header, sizes, timing and token counts. In standard "
        "mode its memory can read the request.",
        wordings=(
            "(can|could|does|will|is) (the coordinator|a coordinator|the operator|an operator) (able to |)(read|see|look at|know|reading|spy on) (my prompt|my prompts|my messages|the prompt|prompts|what i write|my data|my answer|the answer)",
            "what (can|does|could) (the coordinator|the operator|a coordinator) (see|read|learn|know)( about me| about my request| in sealed mode|)",
            "(is|are) (my prompt|the prompt|my prompts) (visible|readable|hidden|secret) (to|from|for) (the coordinator|the operator)",
            "(which|what) (data|metadata|information) (does|can) the coordinator (see|get|read)",
            "do (operators|coordinators) (read|see) (prompts|my prompts|my messages)",
        ),
    ),
    Fact(
        "provider_reading",
        "Yes, the provider that answers opens the prompt, because it runs the model. Its trust tier tells how much of it was "
        "verified.",
        wordings=(
            "(can|could|does|will|is) (the provider|a provider|the machine|the owner of the machine|the machine owner|providers) (able to |)(read|see|look at|know|reading|spy on) (my prompt|my prompts|my messages|the prompt|prompts|what i write|my data)",
            "what (can|does|could) (the provider|a provider) (see|read|learn|know)( about me| about my prompt|)",
            "do providers (read|see) (prompts|my prompts|my messages)",
            "(is|are) (my prompt|the prompt|my prompts) (visible|readable|hidden|secret) (to|from|for) (the provider|providers|the machine)",
        ),
    ),
    Fact(
        "logging",
        "No. Prompts and answers are not written to logs, metrics, traces or the database.",
        wordings=(
            "(are|is) (my prompt|my prompts|prompts|my messages|my chats|answers|my data|conversations) (stored|logged|saved|kept|recorded|written down|archived)( anywhere| somewhere| by you|)",
            "(do|does) (you|hushnet|it|the coordinator|the network) (store|log|save|keep|record|remember|archive) (my prompt|my prompts|prompts|my messages|my chats|my data|conversations|anything|answers)",
            "(how long|where) (are|do you) (keep |store |)(my prompts|my messages|prompts)( kept| stored|)",
            "(are|do) (there logs|you keep logs|logs exist)( of my prompts| of prompts|)",
            "(is|are) (my prompts|my data|my chats) used (for|in) training",
            "do you (train|learn) (on|from) my (prompts|data|messages|chats)",
        ),
    ),
    Fact(
        "sealing",
        "Sealing encrypts the body of a request once with AES-256-GCM and wraps the key for each chosen provider, so that "
        "only those can open it.",
        topics=("sealing", "the sealing", "the sealing protocol", "sealing a request", "the encryption", "encryption"),
        wordings=(
            "how (is|are|do you) (my prompt|a request|requests|prompts|seal|encrypt|the body) (sealed|encrypted|a request|prompts)",
            "how does (the |)(encryption|sealing|cryptography) work",
            "(which|what) (cipher|encryption|algorithm|cryptography) (is used|do you use|does hushnet use|protects my prompt)",
            "what does it mean to seal",
        ),
    ),
    Fact(
        "suites",
        "There are three sealing suites: hpke-mlkem768-x25519 (preferred, post-quantum hybrid), hpke-x25519 and nacl-box.",
        topics=(
            "the sealing suites",
            "the suites",
            "a suite",
            "sealing suites",
            "a sealing suite",
            "the cipher suites",
        ),
        wordings=(
            "(which|what|how many) (sealing |cipher |)suites (are there|exist|are supported|does hushnet support|can i use|do you have)",
            "(list|name|show|give me) the (sealing |)suites",
            "(which|what) suite is (preferred|the default|the best|the strongest|used)",
            "(what is|explain) (hpke|nacl-box|hpke-x25519|hpke-mlkem768-x25519|nacl box|ml-kem)",
        ),
    ),
    Fact(
        "post_quantum",
        "Yes. The preferred suite joins ML-KEM-768 with X25519, so a recording made today stays sealed even against a future "
        "quantum computer.",
        topics=("post-quantum", "post quantum sealing", "post-quantum cryptography", "quantum safety"),
        wordings=(
            "(is|are) (it|hushnet|sealing|you|the sealing|sealed mode|the encryption) (post-quantum|post quantum|quantum safe|quantum-safe|quantum resistant|safe from quantum computers)",
            "(what about|what if there are|does it resist|is it safe against|what happens with) quantum computers",
            "(do you|does hushnet|does it) (support|use|have|offer) (post-quantum|post quantum|quantum safe) (cryptography|suites|encryption|sealing|keys)",
            "(can|could|will) a quantum computer (read|break|open) (my prompts|a recording|it|the sealing|my messages)",
        ),
    ),
    Fact(
        "trust_tiers",
        "There are four trust tiers, from low to high: none, self_signed, measured and hardware.",
        topics=(
            "trust tiers",
            "the trust tiers",
            "a trust tier",
            "trust levels",
            "the tiers",
            "trust",
            "the trust tier",
        ),
        wordings=(
            "(which|what|how many) (trust |)(tiers|levels) (are there|exist|does hushnet have|do you have|does it know)",
            "(list|name|show me|give me|enumerate) the (trust |)(tiers|levels)",
            "(how|why) (do|can|should) i trust (a provider|providers|the provider|a machine)",
            "(what is|which is) the (highest|best|lowest|strongest|weakest) (trust |)(tier|level)",
            "how (is|do you measure|do you rank) (trust|the trust)( measured| ranked|)",
        ),
        more="self_signed proves a key, measured proves booted software with a TPM, and hardware means a Secure Enclave or a "
        "confidential VM.",
    ),
    Fact(
        "tier_none",
        "The tier none means that nothing about the provider was verified.",
        topics=("the tier none", "tier none", "trust tier none", "trust none", "the none tier"),
    ),
    Fact(
        "tier_self_signed",
        "The tier self_signed means that the provider proved possession of its key with fresh challenges, and nothing more.",
        topics=(
            "self_signed",
            "self signed",
            "the tier self_signed",
            "the self_signed tier",
            "self-signed",
            "tier self_signed",
        ),
        wordings=("what (does|is) (a |)self_signed (provider|mean|prove|proved)",),
    ),
    Fact(
        "tier_measured",
        "The tier measured means a TPM quote over the measured boot and the agent's digest, bound to the serving key.",
        topics=("measured", "the tier measured", "the measured tier", "tier measured", "a tpm quote", "the tpm"),
        wordings=(
            "what (does|is) (a |)measured (provider|mean|prove|proved)",
            "(what is|how do you use) a tpm( used for|)",
        ),
    ),
    Fact(
        "tier_hardware",
        "The tier hardware means an Apple Secure Enclave with device attestation, or a confidential VM such as SEV-SNP or "
        "TDX.",
        topics=(
            "the tier hardware",
            "the hardware tier",
            "tier hardware",
            "hardware trust",
            "a confidential vm",
            "the secure enclave",
            "sev-snp",
            "tdx",
        ),
        wordings=("what (does|is) (a |)hardware (tier|trust|level) (mean|prove|provider)",),
    ),
    Fact(
        "trust_floor",
        "A request can ask for a trust floor: only providers of that tier or a higher one may answer it.",
        topics=("a trust floor", "the trust floor", "trust floor", "the floor"),
        wordings=(
            "(can|could|how do|how can) i (ask for|require|demand|choose|set) (a |)(trust tier|trusted provider|trusted providers|higher tier|minimum trust|trust floor|certain tier|better tier)",
            "(can|how do) i (refuse|avoid|exclude) (untrusted|bad|weak) providers",
        ),
    ),
    Fact(
        "attestation",
        "Attestation is how a provider proves what it is: evidence such as a TPM quote, bound to its keys, is checked and "
        "gives a verdict.",
        topics=("attestation", "the attestation", "remote attestation", "evidence", "a verdict"),
        wordings=(
            "how (does|can) (a|the) (provider|machine) (prove|show) (what it is|its identity|that it is honest|itself|its software)",
            "how (is|are|do you check|do you verify) (a provider|providers|machines)( checked| verified| attested|)",
            "who (checks|verifies) (the |)(providers|provider|evidence)",
        ),
    ),
    Fact(
        "linux_root",
        "No. Root on a plain Linux host can read the memory of a process, and Hushnet never claims otherwise; ask for the "
        "hardware tier instead.",
        wordings=(
            "(can|could|is) (root|the administrator|the owner|an admin|a root user) (on linux |of a linux host |)(unable to |able to |)(read|see|look into) (the memory|process memory|memory)",
            "(is|are) (a plain linux host|linux hosts|a linux provider|plain linux) (safe|secure|private|protected)( from root| against root|)",
            "(does|do) hushnet (protect|hide prompts|defend) (against|from) (root|the owner of the machine|an administrator)",
            "what about root( on linux| on a linux host|)",
        ),
    ),
    Fact(
        "receipt",
        "A receipt is a signed record that ends each attempt: it says which provider answered, for which request, and how "
        "many tokens were used.",
        topics=("a receipt", "receipts", "receipt", "the receipt", "a signed receipt"),
        wordings=(
            "what (is|stands|do i find) (in|on|inside) a receipt",
            "(how|where) (do|can) i (check|verify|prove|see) (who answered|which provider answered|my receipt|an answer)",
            "(do|can|will) i get a receipt",
            "how do i (check|know) (that |)(the bill|the token count|what i paid for) is (right|correct)",
            "(which|what) (proves|proof do i have) (that |)(a|the) provider answered",
        ),
    ),
    Fact(
        "checking",
        "Check it yourself: the SDK verifies the provider's signed keys and evidence before it seals, and the receipt "
        "afterwards.",
        wordings=(
            "how (can|do|could) i (verify|check|prove|test|be sure|make sure|know) (that (it|hushnet|my prompt) is (private|safe|sealed)|the privacy|your promises|this|privacy|that you are honest)",
            "why should i (believe|trust) (you|hushnet|this|that)",
            "do i have to (trust|believe) (you|the coordinator|hushnet|anyone)",
            "(can|could) i (check|verify) (it|this|that) myself",
        ),
    ),
    Fact(
        "sealing_keys",
        "Sealing keys live for an hour, in the memory of the provider only, and are endorsed by its identity key in a signed "
        "statement.",
        topics=("a sealing key", "sealing keys", "the sealing keys", "a key statement", "the key statement"),
        wordings=(
            "how long (do|does) (a |the |)(sealing |)(key|keys) live",
            "how often (do|are) (the |)(sealing |)keys (rotate|rotated|change|changed)",
            "where (are|is) (the |)(sealing |)(key|keys) (stored|kept)",
        ),
    ),
    Fact(
        "routing_header",
        "The routing header is the only clear part of a sealed request: model, sizes, features and trust floor, but nothing "
        "of the prompt.",
        topics=("the routing header", "routing header", "a routing header", "the clear header"),
        wordings=(
            "(what|which) (part|parts|data) of a (sealed |)request (is|are) (clear|not encrypted|readable|visible)",
        ),
    ),
    Fact(
        "tampering",
        "Dropped, reordered, replayed or truncated answers are detected, because every record is authenticated and numbered.",
        topics=("tampering", "a replay attack", "replay attacks", "truncation"),
        wordings=(
            "(can|could|what if) (someone|the coordinator|an attacker|anyone|somebody) (change|changes|alter|alters|modify|modifies|replay|replays|cut|cuts|fake|tamper with) (my answer|the answer|answers|a request|the stream)",
            "how (is|are|do i notice) (a |an |)(tampering|replay|changed answer|truncated answer|manipulation) (detected|noticed|prevented)",
        ),
    ),
)
