-- Return a job's stored value, its lease and the time. ARGV[2]: id.
return {redis.call('HGET', P .. 'jobs', ARGV[2]), redis.call('HGET', P .. 'leases', ARGV[2]), text(now())}
