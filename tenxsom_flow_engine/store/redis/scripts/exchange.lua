-- Rename all our keys to the prefix ARGV[3], and the keys of the prefix ARGV[2] to ours.
local function rename(from, to)
  local keys = redis.call('KEYS', string.gsub(from, '[%*%?%[%]%^\\]', '\\%0') .. ':*')
  for _, key in ipairs(keys) do
    redis.call('RENAME', key, to .. string.sub(key, #from + 1))
  end
end
rename(KEYS[1], ARGV[3])
rename(ARGV[2], KEYS[1])
changed()
return 1
