"""Request and response shapes of the APIs that Hushnet speaks; pure.

One package a dialect (`openai_chat`). Each decodes a request body into one frozen value, checked and bounded, and renders
answers and errors as bytes. No I/O, no clock, no engine: coordinator, provider and SDK all stand on it.
"""
