-- Make a frozen store usable again: rename the keys of the prefix ARGV[2] to ours, and remove the marker and what else is here.
if redis.call('EXISTS', P .. 'moved') == 0 then
  return 0
end
local function keys_of(prefix)
  return redis.call('KEYS', string.gsub(prefix, '[%*%?%[%]%^\\]', '\\%0') .. ':*')
end
for _, key in ipairs(keys_of(KEYS[1])) do
  redis.call('DEL', key)
end
for _, key in ipairs(keys_of(ARGV[2])) do
  redis.call('RENAME', key, P .. string.sub(key, #ARGV[2] + 2))
end
changed()
return 1
