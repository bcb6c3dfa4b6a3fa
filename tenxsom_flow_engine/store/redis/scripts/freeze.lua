-- Freeze the store: rename all our keys to the prefix ARGV[2], and leave the marker ARGV[3]. Returns the jobs with a lease; if
-- there are any, nothing is changed. A store with a marker only gets the new one.
if redis.call('EXISTS', P .. 'moved') == 0 then
  local leased = redis.call('HKEYS', P .. 'leases')
  if #leased > 0 then
    return leased
  end
  local keys = redis.call('KEYS', string.gsub(P, '[%*%?%[%]%^\\]', '\\%0') .. '*')
  for _, key in ipairs(keys) do
    redis.call('RENAME', key, ARGV[2] .. string.sub(key, #KEYS[1] + 1))
  end
end
redis.call('SET', P .. 'moved', ARGV[3])
return {}
