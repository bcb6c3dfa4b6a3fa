-- Return the store's time.
return text(now())
