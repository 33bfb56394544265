"""Questions that hush-tiny cannot answer, and the honest answer to all of them."""

import random

from hush_tiny.corpus.turns import Turn
from hush_tiny.corpus.wording import choose, dress
from hush_tiny.corpus.words import ADJECTIVES, CATEGORIES, NOUNS, invent

ANSWER = "I am a very small model and I don't know that. Ask me about Hushnet."

_NOUN = f"({'|'.join(NOUNS)})"
_ADJECTIVE = f"({'|'.join(ADJECTIVES)})"
_THING = f"({_NOUN}|{_ADJECTIVE} {_NOUN})"
_KIND = (
    "("
    + "|".join(item for name in ("animals", "birds", "fruits", "vegetables", "trees") for item in CATEGORIES[name])
    + ")"
)
_PASTIME = "(" + "|".join((*CATEGORIES["sports"], *CATEGORIES["instruments"], *CATEGORIES["drinks"])) + ")"
_PLACE = "(berlin|china|africa|the moon|new york|texas|europe|london|russia|india|mars|australia|rome|iceland|brazil)"
_PERSON = "(einstein|shakespeare|napoleon|mozart|the president|newton|cleopatra|elvis|picasso|the king|darwin|caesar|the pope|beethoven)"
_FIELD = (
    "(physics|chemistry|history|biology|law|medicine|philosophy|football|politics|geometry|algebra|economics|art|gravity|"
    "evolution|love|happiness|the bible|grammar|the weather|the stock market|climate change|blockchain|black holes|dinosaurs|"
    "volcanoes|electricity|photosynthesis|cooking|gardening|yoga|religion|poetry|opera|the universe)"
)
_LANGUAGE = "(french|german|spanish|latin|chinese|italian|russian|japanese)"

WORDINGS: tuple[str, ...] = (
    f"how (do|can|should|would) i (cook|bake|make|build|repair|fix|clean|draw|paint|sell|grow|open|find|wash|move|carry|fry|boil) (a|the|my|some) {_THING}",
    f"(what is|explain|tell me about|describe|define|what's|what about) (a|the|an) {_THING}",
    f"(what is|explain|tell me about|teach me|what do you know about|i want to learn about|how does) {_FIELD}( work|)",
    f"why (is|are|was) (the|a|my|this) {_NOUN} (so |){_ADJECTIVE}",
    f"who (was|is|killed|married|knows|was the father of|painted) {_PERSON}",
    f"when (was|did|is) {_PERSON} (born|die|the birthday|live|arrive)",
    f"who (invented|discovered|wrote|painted|built|made|found) (the|a) {_THING}",
    f"(what is the|how big is the|tell me the) (population|size|history|weather|area|food|flag|language|climate) (of|in) {_PLACE}",
    f"(how far|how long|how many miles|how many hours) (is it |)(from here |)to {_PLACE}",
    f"(where is|where can i find|where do i buy) (the|a|my) {_THING}",
    f"(translate|say) {_THING} (to|into|in) {_LANGUAGE}",
    f"how do you say {_THING} in {_LANGUAGE}",
    f"(write|make|draw|compose|give me) (a|an) (essay|song|program|recipe|drawing|speech|article|email|novel) (about|for|on) (a|the) {_THING}",
    f"(write|give me) (code|a python program|a function|a script) (that|to|which) (sorts|opens|finds|counts|prints|reads) (a list|files|words|a {_NOUN})",
    "(what is the weather|how is the weather|what's the weather like|will it rain|is it raining)( today| tomorrow| now| outside| here|)",
    "(what time is it|what is the time|what day is it|what is the date|what year is it|what is today's date)( now| today| please|)",
    "(what is|tell me|any) (the news|the latest news|news today|the score|happening in the world)( today|)",
    "who won (the|a) (world cup|election|war|race|match|game|lottery|nobel prize)( last year| in 1998| in 2010|)",
    "(what is|solve|compute) (the square root of|the derivative of|the integral of|the sine of) (x|two|nine|a number|y)",
    f"(which|what) (is|are) (better|bigger|older|faster|heavier), (a|the) {_NOUN} or (a|the) {_NOUN}",
    f"(can|could|should|may) i (eat|drink|buy|sell|take|see|keep|kill|ride) (a|the|my) {_THING}",
    f"do you (like|love|have|own|want|see|eat|hate|know) (a |the |my |){_THING}",
    "(recommend|suggest|find) (me |)(a|some) (book|film|movie|song|restaurant|hotel|game|doctor|present|school)",
    "what (should|can|do) i (wear|eat|cook|read|watch|say|buy|do) (today|tonight|tomorrow|on monday|for dinner|for breakfast)",
    "(what is|what's) the meaning of (life|death|the universe|my dream|time)",
    "how (old|tall|rich|heavy) (is|was) " + _PERSON,
    f"how (many|much) (people|money|water|gold|stars|{_NOUN}s) (are|is) (there |)in {_PLACE}",
    f"(my|the) {_NOUN} (is broken|hurts|is gone|does not open|is {_ADJECTIVE}), what should i do",
    "(i am|i feel) (ill|sick|sad|lonely|tired|hungry|bored|angry|lost)(, what should i do|, help|)",
    "(how do i|how can i|help me) (lose weight|sleep better|get rich|find a job|learn to swim|stop smoking|pass my exam|find love)",
    "(asdf|qwerty|blah blah|lorem ipsum|foo bar|xyz|hmm|abc|aaa|zzz|la la la|123|42|hjkl|foo)( asdf| xyz| foo| bar| 42|)",
    f"{_ADJECTIVE} {_NOUN}",
    f"the {_NOUN} {_ADJECTIVE}",
    f"(compare|contrast) (a|the) {_NOUN} (and|with) (a|the) {_NOUN}",
    f"(explain|describe) (how|why) (a|the) {_NOUN} (works|moves|is made|was built|grows)",
    f"(who|what) (eats|owns|makes|needs|uses|moves) (a|the) {_THING}",
    f"(summarise|summarize|review|continue) (the|this) (book|film|article|story) about (a|the) {_THING}",
    f"is (the|a) {_NOUN} {_ADJECTIVE}( or {_ADJECTIVE}|)",
    f"what (colour|color|size|shape|price) is (the|a|my) {_NOUN}",
    f"(what|how much) does (the|a) {_THING} (weigh|eat|sound like|cost in the shop|taste like)",
    f"(why|how|when|where) do {_KIND}s (sleep|eat|live|grow|die|fly|sing|smell|run|jump)",
    f"(is|are) (a|the) {_KIND} (a|an) (fruit|animal|vegetable|bird|plant|fish|good pet)",
    f"how (old|big|fast|heavy|tall) (is|can|does) (a|the|my) {_KIND}( get| be| grow|)",
    f"(how do i|can you teach me to|who invented|what are the rules of|where can i learn) (play |){_PASTIME}",
    f"(when|how|why) did {_PERSON} (die|live|fall|win|write|fight)",
    f"(when|how|why) did (the war|the empire|the revolution|the (big|last|great) {_NOUN}) (end|start|fall|begin)",
    f"(write|give me) (code|a program|a function|a python function) that (reverses|adds|sorts|removes|prints) (a string|numbers|two numbers|a {_NOUN})",
    "what is the (boiling point|melting point|density|colour|weight|formula|age) of (water|iron|gold|air|salt|sugar|the sun|the earth|the universe)",
)  # fmt: skip

STRANGE: tuple[str, ...] = (
    "(what is|what are|what's|explain|describe|define|tell me about|what about|what do you know about) (a |the |an |){strange}",
    "(who|what) (is|was|are|wrote|made|invented|painted|discovered|won|sang|built) (the |a |){strange}",
    "(where|when|why|how) (is|was|are|did|do|does|can i find|do i get to|should i use) (the |a |my |){strange}( live| work| fall| die| end|)",
    "(how do i|can you|could you|please|how can i|i want to) (cook|fix|find|draw|buy|sell|open|translate|solve|learn|play|visit|read) (a |the |my |some |){strange}",
    "(is|are|was) (a |the |){strange} (good|bad|big|old|dangerous|a fruit|an animal|better than {strange}|true|expensive)",
    "(translate|write|say|compare|explain) {strange} (into|in|about|and|to) (latin|{strange}|a child|greek|english)",
    "(do you know|have you seen|i like|i love|recommend|give me) (a |the |my |some |){strange}",
    "how (many|much|far|old|big) (is |are |)(there |)(in |to |)(the |){strange}( cost| weigh| have|)",
    "{strange}( {strange}| {strange} {strange}|)",
)


def sample(rng: random.Random) -> Turn:
    """Draw a question about anything but Hushnet; often about a word that does not exist, as most words are unknown."""
    if rng.random() < 0.7:
        return Turn(dress(rng, choose(rng, rng.choice(WORDINGS))), ANSWER)
    text = choose(rng, rng.choice(STRANGE))
    while "{strange}" in text:
        text = text.replace("{strange}", invent(rng).capitalize() if rng.random() < 0.4 else invent(rng), 1)
    return Turn(dress(rng, text), ANSWER)
