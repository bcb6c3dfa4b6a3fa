-- Set the budget of the scope ARGV[2] to the text ARGV[3]; an empty text removes it.
if ARGV[3] == '' then
  redis.call('HDEL', P .. 'budgets', ARGV[2])
else
  redis.call('HSET', P .. 'budgets', ARGV[2], ARGV[3])
end
changed()
return 1
