-- Remove a waiter. ARGV[2]: service, [3]: waiter.
redis.call('ZREM', P .. 'asked:' .. ARGV[2], ARGV[3])
redis.call('ZREM', P .. 'told:' .. ARGV[2], ARGV[3])
