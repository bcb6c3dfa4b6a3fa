-- Return ids and positions in sorted sets within ranges of positions, as one text: the client parses it faster than a list.
-- ARGV[2]: the number of ids wanted, [3]: the number of sets, then the sets' names, then pairs of a range's highest and
-- lowest position. At most ARGV[2] ids are read from each set; reading stops at the range that completes this number.
-- Returns {ranges read, text}.
local wanted, sets = tonumber(ARGV[2]), tonumber(ARGV[3])
local found, size, ranges = {}, 0, 0
for i = 4 + sets, #ARGV, 2 do
  for s = 4, 3 + sets do
    local pairs_ = redis.call('ZREVRANGEBYSCORE', P .. ARGV[s], ARGV[i], ARGV[i + 1], 'WITHSCORES', 'LIMIT', 0, wanted)
    if #pairs_ > 0 then
      found[#found + 1] = table.concat(pairs_, ' ')
      size = size + #pairs_ / 2
    end
  end
  ranges = ranges + 1
  if size >= wanted then
    break
  end
end
return {ranges, table.concat(found, ' ')}
