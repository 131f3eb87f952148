"""From what was seen to what is allowed: selectors, rules and everything a person should know about them."""
