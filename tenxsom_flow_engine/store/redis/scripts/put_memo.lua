-- Replace a memo. ARGV[2]: its kind, [3]: its name, [4]: seconds, [5]: the text, [6]: the text that it replaces; texts have a
-- mark before them, and are empty for no memo. [7]: the rows of the outbox that are written if it is replaced (see
-- outbox.lua), in MessagePack, or empty. Returns the marked text after that, or '!' if the rows were made for other endpoints.
local instant = now()
local texts, ends = P .. 'memos:' .. ARGV[2], P .. 'memo_ends:' .. ARGV[2]
local ended = redis.call('ZRANGEBYSCORE', ends, '-inf', text(instant), 'LIMIT', 0, 100)
local stored = ''
if tonumber(redis.call('ZSCORE', ends, ARGV[3]) or '0') > instant then
  stored = '=' .. (redis.call('HGET', texts, ARGV[3]) or '')
end
if #ended > 0 then
  redis.call('HDEL', texts, unpack(ended))
  redis.call('ZREM', ends, unpack(ended))
end
if stored ~= ARGV[6] then
  return stored
end
if ARGV[7] ~= '' then
  local rows = cmsgpack.unpack(ARGV[7])
  if not endpoints_known(rows) then
    return '!'
  end
  write_rows(rows)
end
if ARGV[5] == '' then
  redis.call('HDEL', texts, ARGV[3])
  redis.call('ZREM', ends, ARGV[3])
else
  redis.call('HSET', texts, ARGV[3], string.sub(ARGV[5], 2))
  redis.call('ZADD', ends, text(instant + tonumber(ARGV[4])), ARGV[3])
end
return ARGV[5]
