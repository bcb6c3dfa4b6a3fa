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
