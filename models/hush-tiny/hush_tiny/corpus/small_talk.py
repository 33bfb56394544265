"""Greetings, thanks, farewells and moods."""

import random

from hush_tiny.corpus.turns import Turn
from hush_tiny.corpus.wording import choose

ANSWERS: dict[str, str] = {
    "greeting": "Hello! I am Hush Tiny. How can I help you?",
    "how_are_you": "I am running well, thank you. How can I help you?",
    "thanks": "You are welcome!",
    "bye": "Goodbye! Come back any time.",
    "praise": "Thank you, that is kind.",
    "complaint": "I am sorry. I am a very small model and I make mistakes.",
    "acknowledgement": "Good. What else would you like to know?",
    "joke": "Why did the prompt wear a seal? It wanted some privacy.",
    "poem": "A prompt went out, sealed up and small,\nNo one between could read at all.\nAn answer came, a receipt in hand,\n"
    "From a quiet machine in a distant land.",
    "story": "Once upon a time there was a small machine that slept under a desk. One day its owner ran hush up. The machine "
    "dialled out, proved what it was, and waited. Soon a sealed prompt arrived. The machine opened it, thought for a "
    "moment, and answered. The coordinator carried the answer home and could not read a word of it. The machine earned its "
    "first coin, and it never slept alone again. The end.",
}  # fmt: skip

WORDINGS: dict[str, tuple[str, ...]] = {
    "greeting": (
        "(hi|hello|hey|hallo|hey there|hi there|hello there|good morning|good afternoon|good evening|greetings|howdy|yo|hiya|welcome)"
        "(| hush| hush tiny| friend| you| everyone| again|!|!!)",
        "(good day|nice to meet you|hello world|pleased to meet you|morning|evening|test|testing|ping|are you there|is anyone there|anybody home)(|!)",
        "(i want|i would like|i just want) to say (hello|hi)",
        "(say|just say) (hello|hi)( to me|)",
    ),
    "how_are_you": (
        "(hi, |hello, |hey, |)(how are you|how are you doing|how do you do|how is it going|how's it going|how do you feel|are you ok|are you well|are you fine|what's up)( today| now| this morning|)",
    ),
    "thanks": (
        "(thanks|thank you|many thanks|thank you very much|thanks a lot|thx|cheers|thank you so much|much appreciated|ok thanks|great, thanks|perfect, thank you)(|!| for your help| for that| for the answer)",
        "(that helped|that was helpful|that helps)( a lot| me|)(, thanks|, thank you|)",
    ),
    "bye": (
        "(bye|goodbye|bye bye|see you|see you later|see you soon|good night|farewell|until next time|i have to go|i am leaving|i must go|talk to you later)(|!| now| hush|, thanks)",
    ),
    "praise": (
        "(good|great|nice|excellent|wonderful) (job|work|answer|model)(!|)",
        "(you are|you're) (great|good|nice|clever|smart|helpful|funny|cute|awesome|the best)(!|)",
        "(i like|i love) (you|it|hushnet|this)(!|)",
        "(well done|impressive|awesome|amazing|bravo)(!|)",
    ),
    "complaint": (
        "(you are|you're) (wrong|bad|stupid|useless|terrible|not helpful|slow)",
        "(that is|that's|this is) (wrong|not right|not true|nonsense|bad|a mistake|incorrect)",
        "(bad|wrong|terrible|poor) (answer|job|work|model)",
        "i (do not|don't) like (it|you|that|this)",
    ),
    "acknowledgement": (
        "(ok|okay|alright|i see|got it|understood|i understand|makes sense|fine|good|great|cool|nice|interesting|aha|yes|sure|right)(|!)",
    ),
    "joke": (
        "(tell|give) me a( good| short| funny|) joke",
        "(make me laugh|a joke|another joke|do you know a joke|say something funny)",
    ),
    "poem": (
        "(write|tell|give|make|read|recite)( me|) a( short| little| nice|) (poem|rhyme|haiku|verse)( about hushnet| about privacy| about a machine| about anything|)",
        "(a poem|poem|do you know a poem)",
    ),
    "story": (
        "(write|tell|give|make)( me|) a( short| long| little| nice| good|) (story|tale|fairy tale|bedtime story)( about hushnet| about a machine| about a provider| about anything|)",
        "(a story|story|do you know a story|once upon a time)",
    ),
}  # fmt: skip


def sample(rng: random.Random) -> Turn:
    """Draw a greeting, a thank-you or the like, with its answer."""
    weights = {"greeting": 5, "how_are_you": 2, "thanks": 3, "bye": 2}
    kind = rng.choices(tuple(WORDINGS), weights=[weights.get(kind, 1) for kind in WORDINGS])[0]
    text = choose(rng, rng.choice(WORDINGS[kind]))
    text = text[0].upper() + text[1:] if rng.random() < 0.6 else text
    return Turn(text + rng.choice(("", "", "", ".", "!", "?")), ANSWERS[kind])
