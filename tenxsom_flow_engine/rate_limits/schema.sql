-- The ledger of the rate limiter, in the job store's file.
CREATE TABLE IF NOT EXISTS gates (
    service  TEXT PRIMARY KEY,
    gate     TEXT NOT NULL   -- pace.Gate as JSON
) STRICT, WITHOUT ROWID;

-- Numbered from 1 in the order of time, without gaps: the n-th most recent admission is found by its number.
CREATE TABLE IF NOT EXISTS admissions (
    service  TEXT NOT NULL,
    number   INTEGER NOT NULL,
    at       REAL NOT NULL,
    PRIMARY KEY (service, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS waiters (
    service  TEXT NOT NULL,
    asker    TEXT NOT NULL,
    asked    REAL NOT NULL,   -- when it first asked
    told     REAL NOT NULL,   -- its hint: when to ask again
    PRIMARY KEY (service, asker)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS waiters_asked ON waiters (service, asked);
CREATE INDEX IF NOT EXISTS waiters_told ON waiters (service, told);

CREATE TABLE IF NOT EXISTS tallies (
    service  TEXT NOT NULL,
    name     TEXT NOT NULL,
    value    REAL NOT NULL,
    PRIMARY KEY (service, name)
) STRICT, WITHOUT ROWID;

-- The channels of the waiters, which earlier releases do not write.
CREATE TABLE IF NOT EXISTS waiter_channels (
    service      TEXT NOT NULL,
    waiter       TEXT NOT NULL,
    channel      TEXT NOT NULL,
    weight       REAL NOT NULL,
    first_asked  REAL NOT NULL,
    hint         REAL NOT NULL,
    PRIMARY KEY (service, waiter)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS waiter_channels_hint ON waiter_channels (service, hint, channel);
CREATE INDEX IF NOT EXISTS waiter_channels_line ON waiter_channels (service, channel, hint);

-- The virtual times of channels that are ahead of their service; that of all channels has the name '*'.
CREATE TABLE IF NOT EXISTS admitted (
    service       TEXT NOT NULL,
    channel       TEXT NOT NULL,
    virtual_time  REAL NOT NULL,
    PRIMARY KEY (service, channel)
) STRICT, WITHOUT ROWID;
