-- Count the charges of quarters after ARGV[2] in that quarter, for all scopes. No other process uses the store.
local latest = tonumber(ARGV[2])
local prefix = P .. 'charges:'
for _, key in ipairs(redis.call('KEYS', string.gsub(prefix, '[%*%?%[%]%^\\]', '\\%0') .. '*')) do
  local block, scope = string.match(string.sub(key, #prefix + 1), '^(%d+):(.*)$')
  if block and (tonumber(block) + 1) * BLOCK > latest + 1 then
    local fields = redis.call('HGETALL', key)
    local later = {r = 0, s = 0}
    for i = 1, #fields, 2 do
      local kind, quarter = string.sub(fields[i], 1, 1), tonumber(string.sub(fields[i], 2))
      if later[kind] and quarter and quarter > latest then
        later[kind] = later[kind] + amount(fields[i + 1])
        redis.call('HDEL', key, fields[i])
      end
    end
    redis.call('DEL', P .. 'periods:' .. scope)
    if later.r + later.s > 0 then
      charge(scope, latest, later.r, later.s)
    end
  end
end
return 1
