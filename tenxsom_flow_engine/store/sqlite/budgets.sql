-- Budgets that operators have set (see budgets/limits.py for their text).
CREATE TABLE IF NOT EXISTS budgets (
    scope  TEXT PRIMARY KEY,
    text   TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Micro-dollars by scope and quarter of an hour since 1970 (see budgets/charges.py).
CREATE TABLE IF NOT EXISTS charges (
    scope     TEXT NOT NULL,
    quarter   INTEGER NOT NULL,
    reserved  INTEGER NOT NULL,
    spent     INTEGER NOT NULL,
    PRIMARY KEY (scope, quarter)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS charges_quarter ON charges (quarter);

-- Sums of `charges` over the periods of budgets, each made when it is first needed.
CREATE TABLE IF NOT EXISTS charge_periods (
    scope     TEXT NOT NULL,
    begins    INTEGER NOT NULL,   -- its first quarter
    ends      INTEGER NOT NULL,   -- the first quarter after it
    reserved  INTEGER NOT NULL,
    spent     INTEGER NOT NULL,
    PRIMARY KEY (scope, begins, ends)
) STRICT, WITHOUT ROWID;
