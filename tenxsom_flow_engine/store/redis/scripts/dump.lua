-- Return the name, the milliseconds left to live (0: for ever) and the dump of each of our keys, all of one instant.
local dumped = {}
for _, key in ipairs(redis.call('KEYS', string.gsub(P, '[%*%?%[%]%^\\]', '\\%0') .. '*')) do
  local dump = redis.call('DUMP', key)
  if dump then
    dumped[#dumped + 1] = string.sub(key, #P + 1)
    dumped[#dumped + 1] = math.max(0, redis.call('PTTL', key))
    dumped[#dumped + 1] = dump
  end
end
return dumped
