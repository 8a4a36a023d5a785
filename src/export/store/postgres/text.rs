//! The statements. All names are written out: the search path is empty.

pub const GET: &str = "SELECT key, revision, label, claim, body, expires FROM pgveil.documents \
     WHERE kind = $1 AND key = $2 AND (expires IS NULL OR expires > $3)";

pub const LIST: &str = "SELECT key, revision, label, claim, body, expires FROM pgveil.documents \
     WHERE kind = $1 AND key > $2 AND (cardinality($3::text[]) = 0 OR label = ANY($3)) \
     AND (expires IS NULL OR expires > $4) ORDER BY key LIMIT $5";

/// By an index of the claims' beginnings: `$3` is the first beginning behind that of `$2`.
pub const CLAIMED: &str = "SELECT key, revision, label, claim, body, expires FROM pgveil.documents \
     WHERE kind = $1 AND left(claim, 200) >= left($2, 200) AND ($3::text IS NULL OR left(claim, 200) < $3) \
     AND starts_with(claim, $2) AND (expires IS NULL OR expires > $4) ORDER BY claim LIMIT $5";

/// Does nothing where the key or the claim is taken.
pub const INSERT: &str = "INSERT INTO pgveil.documents (kind, key, revision, label, claim, body, expires, claim_digest) \
     VALUES ($1, $2, 1, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";

/// Fails with `unique_violation` where the claim is taken.
pub const UPDATE: &str = "UPDATE pgveil.documents SET revision = revision + 1, label = $3, claim = $4, body = $5, expires = $6, \
     claim_digest = $7 WHERE kind = $1 AND key = $2 AND revision = $8 AND (expires IS NULL OR expires > $9)";

pub const HOLDER: &str = "SELECT key FROM pgveil.documents WHERE kind = $1 \
     AND claim_digest = $2 AND key <> $3 \
     AND (expires IS NULL OR expires > $4)";

/// Expired documents that stand in the way of a key or a claim.
pub const FORGET: &str = "DELETE FROM pgveil.documents WHERE kind = $1 AND expires <= $2 AND (key = $3 \
     OR claim_digest = $4)";

pub const DELETE: &str =
    "DELETE FROM pgveil.documents WHERE kind = $1 AND key = $2 AND revision = $3";

pub const GIVE_BACK: &str = "UPDATE pgveil.counters SET amount = greatest(0, amount - $3) WHERE counter = $1 AND bucket = $2";

pub const TAKEN: &str = "SELECT coalesce(sum(amount), 0)::bigint FROM pgveil.counters WHERE counter = $1 AND bucket >= $2";

/// In the order of the members, so that two that add the same ones do not wait for each other.
pub const SEE: &str = "INSERT INTO pgveil.members (name, day, member) SELECT $1, $2, member FROM unnest($3::bigint[]) member \
     ORDER BY member ON CONFLICT DO NOTHING";

pub const SEEN: &str = "SELECT member FROM pgveil.members WHERE name = $1 AND day = $2";

pub const SWEEP: &str = "WITH documents AS (DELETE FROM pgveil.documents WHERE expires <= $1 RETURNING 1), \
     counters AS (DELETE FROM pgveil.counters WHERE bucket < $2 RETURNING 1), \
     members AS (DELETE FROM pgveil.members WHERE day < $3 RETURNING 1) \
     SELECT (SELECT count(*) FROM documents) + (SELECT count(*) FROM counters) + (SELECT count(*) FROM members)";

/// `take(counter, first bucket of each window, limit of each, wanted, bucket now)` gives what was taken. Right only
/// under the counter's lock, and in a statement that began after it was had: see [`take`].
pub const PREPARE_TAKE: &str = "PREPARE take (text, bigint[], bigint[], bigint, bigint) AS \
     WITH free AS (SELECT greatest(0, least($4, min(w.most - (SELECT coalesce(sum(c.amount), 0)::bigint \
     FROM pgveil.counters c WHERE c.counter = $1 AND c.bucket >= w.since)))) AS amount \
     FROM unnest($2, $3) AS w (since, most)), \
     noted AS (INSERT INTO pgveil.counters (counter, bucket, amount) SELECT $1, $5, amount FROM free WHERE amount > 0 \
     ON CONFLICT (counter, bucket) DO UPDATE SET amount = counters.amount + excluded.amount) \
     SELECT amount FROM free";

/// Both statements go to the server as one message, which is one transaction and one round trip: the first waits for
/// the counter's lock, the second sees what whoever had it before has committed.
pub fn take(counter: &str, since: &[i64], most: &[i64], want: i64, bucket: i64) -> String {
    use std::fmt::Write as _;
    let mut digits = String::with_capacity(counter.len() * 2);
    for byte in counter.bytes() {
        let _ = write!(digits, "{byte:02x}");
    }
    // A name as hexadecimal digits needs no quoting rules.
    let name = format!("convert_from('\\x{digits}'::bytea, 'UTF8')");
    let array = |numbers: &[i64]| {
        let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        format!("'{{{}}}'", numbers.join(","))
    };
    format!(
        "SELECT pg_advisory_xact_lock(hashtextextended('pgveil ' || {name}, 0)); EXECUTE take({name}, {}, {}, {want}, {bucket})",
        array(since),
        array(most)
    )
}
