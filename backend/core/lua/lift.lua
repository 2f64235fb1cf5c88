-- KEYS: the versions. ARGV: name of the mark.

for _, key in ipairs(KEYS) do
  redis.call('DEL', key)
  redis.call('ZREM', key .. ':marks', ARGV[1])
end
