"""The exchange put together: its parts, and what the elected process does with them."""
