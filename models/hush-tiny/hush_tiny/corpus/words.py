"""Word lists that the skills draw from; the held-out ones appear in no training text."""

import random

CATEGORIES: dict[str, tuple[str, ...]] = {
    "colours": ("red", "blue", "green", "yellow", "orange", "purple", "black", "white", "brown", "pink"),
    "animals": ("dog", "cat", "horse", "cow", "lion", "tiger", "bear", "rabbit", "fox", "wolf"),
    "fruits": ("apple", "banana", "cherry", "grape", "lemon", "mango", "orange", "peach", "pear", "plum"),
    "vegetables": ("carrot", "potato", "onion", "tomato", "cabbage", "spinach", "pepper", "bean", "pea", "leek"),
    "countries": ("France", "Spain", "Italy", "Norway", "Japan", "Brazil", "Canada", "Kenya", "India", "Peru"),
    "cities": ("Paris", "London", "Rome", "Oslo", "Tokyo", "Madrid", "Berlin", "Vienna", "Lisbon", "Athens"),
    "planets": ("Mercury", "Venus", "Earth", "Mars", "Jupiter", "Saturn", "Uranus", "Neptune"),
    "days": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "months": ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"),
    "seasons": ("spring", "summer", "autumn", "winter"),
    "birds": ("eagle", "owl", "crow", "swan", "duck", "robin", "parrot", "pigeon", "sparrow", "stork"),
    "trees": ("oak", "pine", "birch", "maple", "willow", "elm", "ash", "cedar", "beech", "fir"),
    "drinks": ("water", "tea", "coffee", "milk", "juice", "lemonade", "cocoa", "cider"),
    "sports": ("football", "tennis", "golf", "hockey", "rugby", "swimming", "boxing", "rowing", "cycling", "chess"),
    "instruments": ("piano", "violin", "guitar", "flute", "drum", "trumpet", "harp", "cello", "organ", "oboe"),
    "metals": ("iron", "gold", "silver", "copper", "tin", "lead", "zinc", "nickel"),
}  # fmt: skip
CATEGORY_NAMES: dict[str, str] = {
    "colours": "(colours|colors)",
    "days": "(days|days of the week|weekdays)",
    "months": "(months|months of the year)",
    "instruments": "(instruments|musical instruments)",
}

CAPITALS: dict[str, str] = {
    "France": "Paris", "Spain": "Madrid", "Italy": "Rome", "Norway": "Oslo", "Japan": "Tokyo", "Germany": "Berlin",
    "Austria": "Vienna", "Portugal": "Lisbon", "Greece": "Athens", "Kenya": "Nairobi", "Peru": "Lima", "Egypt": "Cairo",
    "Canada": "Ottawa", "Poland": "Warsaw", "Sweden": "Stockholm", "Finland": "Helsinki", "Denmark": "Copenhagen",
    "Ireland": "Dublin", "Hungary": "Budapest", "Cuba": "Havana", "Chile": "Santiago", "China": "Beijing",
}  # fmt: skip

NAMES = (
    "Emma", "Noah", "Olga", "Liam", "Ava", "Ivan", "Mia", "Lucas", "Nina", "Omar", "Lena", "Hugo", "Sara", "Peter", "Anna", "Tom",
    "Julia", "Max", "Eva", "Paul", "Clara", "David", "Laura", "Felix", "Maria", "Jonas", "Rosa", "Simon", "Alice", "Victor",
    "Zoe", "Karl", "Ines", "Leon", "Grace", "Bruno", "Helen", "Mark", "Yara", "Daniel", "Kim", "Ben", "Lily", "Jack", "Ruth",
)  # fmt: skip
HELD_OUT_NAMES = ("Carla", "Martin", "Elena", "Robert", "Tina", "Oscar", "Marta", "Linus")

NOUNS = (
    "table", "river", "window", "garden", "letter", "mountain", "bottle", "street", "paper", "stone", "cloud", "bridge", "candle",
    "mirror", "forest", "pocket", "engine", "planet", "basket", "button", "castle", "desert", "feather", "hammer", "island",
    "jacket", "kettle", "ladder", "market", "needle", "ocean", "pencil", "rocket", "saddle", "temple", "umbrella", "valley",
    "wagon", "blanket", "carpet", "dragon", "farmer", "guitar", "helmet", "insect", "jungle", "kitchen", "lantern", "magnet",
    "notebook", "owl", "painter", "ribbon", "spoon", "thunder", "village", "whistle", "yard", "bread", "butter", "cheese",
    "rice", "soup", "sugar", "salt", "cake", "fish", "house", "door", "car", "train", "ship", "plane", "road", "tree", "bird",
    "child", "friend", "king", "queen", "teacher", "doctor", "sailor", "baker", "music", "song", "story", "dream", "night",
    "morning", "winter", "summer", "rain", "snow", "wind", "fire", "light", "shadow", "sun", "moon", "star", "world", "time",
)  # fmt: skip
ADJECTIVES = (
    "green", "small", "quiet", "bright", "old", "new", "cold", "warm", "happy", "sad", "fast", "slow", "deep", "tall", "round",
    "soft", "hard", "blue", "red", "golden", "silver", "young", "brave", "clever", "gentle", "heavy", "hollow", "lazy", "lucky",
    "narrow", "proud", "sharp", "simple", "strange", "sweet", "tiny", "wild", "wise", "yellow", "black", "white", "big", "long",
)  # fmt: skip
VERBS = (
    "runs", "sings", "sleeps", "jumps", "walks", "flies", "swims", "waits", "laughs", "falls", "grows", "reads", "writes", "eats",
    "drinks", "plays", "works", "dances", "shines", "turns", "opens", "closes", "moves", "stands", "sits", "looks", "finds",
)  # fmt: skip
HELD_OUT_WORDS = (
    "pumpkin", "harbour", "velvet", "marble", "copper", "orchard", "puzzle", "violet", "canyon", "walnut", "meadow", "anchor",
)  # fmt: skip

NUMBER_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
COPIED = frozenset((*NOUNS, *ADJECTIVES, *VERBS, *NAMES, *CAPITALS, *CAPITALS.values()))

SYLLABLES = (
    "ba", "be", "bo", "da", "di", "do", "fa", "ga", "go", "ka", "ki", "la", "le", "lo", "ma", "mi", "mo", "na", "ne", "no", "pa", "pe",
    "ra", "ri", "ro", "sa", "si", "so", "ta", "te", "to", "va", "vi", "zo", "an", "el", "in", "or", "um", "ist", "ble", "ck", "st", "x",
    "n", "r", "s", "t", "l", "ch", "sh", "tr", "gr", "pl", "ing", "er", "y", "w", "mb", "nd", "u", "ou", "ee", "qu",
)  # fmt: skip


def invent(rng: random.Random) -> str:
    """Make up a word that is not held out."""
    word = "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(2, 4)))
    return invent(rng) if word in HELD_OUT_WORDS or word.capitalize() in HELD_OUT_NAMES else word
