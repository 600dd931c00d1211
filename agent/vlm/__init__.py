"""The vision-language model's seat: any `BaseChatModel` may take it, and nothing depends on somebody sitting there."""
