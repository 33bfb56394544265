"""Facts about money: prices, holds, the ledger, earning and payouts."""

from hush_tiny.corpus.facts.fact import Fact

FACTS = (
    Fact(
        "ledger",
        "The ledger is the double-entry book of Hushnet: every hold and transfer is written there in whole micro-USD, and "
        "nothing is charged twice.",
        topics=("the ledger", "ledger", "a ledger", "the books", "the hushnet ledger", "double entry"),
        wordings=(
            "how (does|do|is|are) (the ledger|the books|the accounting|money) (work|kept|tracked|recorded|counted)",
            "(where|how) (is|are) (money|payments|charges|transfers) (recorded|kept|booked|written down)",
            "how do you (keep track of|account for|count|handle) money",
        ),
    ),
    Fact(
        "micro_usd",
        "A micro-USD is one millionth of a US dollar. All money in Hushnet is counted in whole micro-USD.",
        topics=("a micro-usd", "micro-usd", "micro usd", "a micro-dollar", "micro-dollars"),
        wordings=(
            "(which|what) (currency|unit|money) (does it use|does hushnet use|is used|do you use|is money counted in)",
            "(in which|in what) (currency|unit) (is|are) (money|prices|the books|amounts) (counted|kept|given)",
            "how many micro-usd (are|make) (a|one) dollar",
        ),
    ),
    Fact(
        "hold",
        "A hold is money reserved for the worst-case cost of a request. When the request ends, the true cost is posted and "
        "the rest is released.",
        topics=("a hold", "holds", "hold", "the hold", "a reservation of money"),
        wordings=(
            "why is (money|my money|some money) (reserved|held|blocked)",
            "(when|how) is money (reserved|held)",
            "what happens (to|with) (the rest of |unused |)(a hold|the hold|reserved money|the reserved money)",
            "is money reserved( before a request| first|)",
        ),
    ),
    Fact(
        "transfer",
        "A transfer is money moved from one account to another in the ledger, never lost and never doubled.",
        topics=("a transfer", "transfers", "transfer", "the transfers"),
        wordings=("how (is|does) money (moved|move)( between accounts|)",),
    ),
    Fact(
        "prices",
        "Prices are set per model, in micro-USD per million input and output tokens. You pay only for the tokens you got.",
        topics=("the prices", "prices", "the price", "the pricing", "pricing", "the cost"),
        wordings=(
            "(how much|what) (does|do|will) (it|hushnet|a request|a prompt|a token|using it|the service|a million tokens) cost( me|)",
            "how (expensive|cheap|costly) is (it|hushnet|a request|this)",
            "(how|who) (is|are|sets|makes) the (price|prices)( set| made| computed|)",
            "(what|how much) (do|must|will|would|should) i (have to |)pay( for a request| for it|)",
            "how (am i|are requests|is a request|do you|is usage) (billed|charged|bill|charge)",
            "what am i (charged|billed|paying) for",
            "how does (billing|pricing|charging) work",
        ),
    ),
    Fact(
        "free",
        "Running your own network is free, because the software is open source. On a shared network you pay the price of each "
        "model.",
        wordings=(
            "is (it|hushnet|this|the network|the service) (free|free of charge|gratis|for free)",
            "(can|could) i use (it|hushnet|this) (for free|without paying|for nothing)",
            "do i (have|need) to pay",
            "is there a free (plan|tier|version|trial)",
        ),
    ),
    Fact(
        "earning",
        "Run the agent with `hush up`: your provider answers requests and earns money for each one, credited to your earnings "
        "account.",
        topics=("earnings", "earning money", "my earnings"),
        wordings=(
            "how (can|do|could|would) (i|people|one|providers|a provider|we) (earn|make) (money|an income|some money|paid|something)( with hushnet| with my gpu| with my computer| from my machine|)",
            "(can|could|will) i (earn|make) (money|something|an income)( with my gpu| with my computer| with hushnet|)",
            "(can|will|do) i get paid( for my machine| for my gpu|)",
            "(are|how are|do) providers (paid|get paid|earn)( money|)",
            "how much (can|could|will|do) i (earn|make)",
            "(can|how do) i (rent out|share|lend|offer|sell) my (gpu|computer|machine|graphics card|laptop)",
            "what do i get for (sharing|lending|offering) my (machine|gpu|computer)",
        ),
    ),
    Fact(
        "payouts",
        "Earnings can be paid out through Stripe or in coins, from one dollar on, once they have matured for a day.",
        topics=("a payout", "payouts", "payout", "a withdrawal", "withdrawals"),
        wordings=(
            "how (do|can) i (withdraw|cash out|take out|get|receive) (my |)(money|earnings|income|balance)",
            "(when|how) (do|will|can) i (get|receive) my (money|earnings|payout)",
            "(what is|how much is) the (minimum|smallest) (payout|withdrawal)",
            "how (are|do) (providers|earnings) (paid out|get their money)",
            "when (am i|are providers|do i get|are earnings) paid( out|)",
        ),
    ),
    Fact(
        "deposits",
        "Add money to your account by card through Stripe or with coins; every request is then paid from your balance.",
        topics=("a deposit", "deposits", "a top-up"),
        wordings=(
            "how (do|can) i (pay|add money|top up|deposit|add credit|charge my account|fund my account|put money in)( for it| for requests|)",
            "(which|what) (payment methods|payments|coins|cards) (are accepted|do you accept|can i use|are supported|do you take)",
            "(can|could) i pay (with|in|by) (bitcoin|coins|a card|credit card|crypto|stripe|ethereum)",
            "do you (accept|take) (bitcoin|coins|cards|credit cards|crypto|cash)",
        ),
    ),
    Fact(
        "charged_twice",
        "No. A request has one hold and one settlement, so it can never be charged twice, even when it fails over.",
        topics=("a double charge", "double charges"),
        wordings=(
            "(can|could|will|am) i (be |get |)(charged|billed|pay|paying) (twice|two times|double)( for a request| for one request|)",
            "(is|are) (a request|requests|failed attempts|retries) (ever |)(charged|billed) (twice|double|two times)",
            "do i pay (twice|double|two times) (when|if) (a provider fails|it fails over|a provider is lost)",
            "what (prevents|stops) (a double charge|charging twice|double billing)",
        ),
    ),
    Fact(
        "failed_request",
        "A request that brought you nothing costs nothing: the hold is released.",
        wordings=(
            "(do|will|must|should) i (have to |)pay (for|when|if) (a failed request|a request fails|an error|errors|it fails|nothing comes back|there is no answer|the request fails)",
            "what (does|do) (a failed request|an error|failed requests|errors) cost",
            "(are|is) (failed requests|a failed request|errors|an error) (free|charged|billed)",
            "(do|will) i get (my money|it|a refund) back (if|when) (a request fails|it fails|there is an error)",
            "what happens to my money (if|when) (a request fails|it fails|there is an error)",
        ),
    ),
    Fact(
        "platform_fee",
        "The platform fee is a share of the cost that an operator may keep; by default it is zero and the provider gets all.",
        topics=("the platform fee", "a platform fee", "platform fee", "the fee", "fees", "the commission"),
        wordings=(
            "(how much|what share|what part|how big a share) (of the price |of the money |)(does|do) (the operator|the platform|the coordinator|you|hushnet) (keep|take|get)",
            "(how much|what share|what part) (of the price |of the money |)(does|do) (a provider|the provider|providers) (keep|get|receive)",
            "(is|are) there (a fee|fees|a commission)",
        ),
    ),
    Fact(
        "promo_credit",
        "Promo credit is granted money: you can spend it on requests, but never withdraw it.",
        topics=("promo credit", "a promo", "promo money", "promotional credit", "granted credit"),
        wordings=("(can|could) i (withdraw|cash out|pay out) (promo|promo credit|promotional credit|a promo)",),
    ),
)
