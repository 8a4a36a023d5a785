//! Figures: in what is stored, and where a division gives digits of its own.
use super::*;

#[test]
fn averages_and_variances_count_by_their_digits_as_sums_do() {
    for (text, expected) in [
        ("avg(amount)", Quotient),
        ("round(avg(amount), 2)", Quotient),
        ("avg(n * note::numeric)", Quotient),
        (
            "avg(CASE note WHEN 'n1' THEN n WHEN 'n2' THEN n * 1e3 ELSE 0 END)",
            Quotient,
        ),
        ("avg(n * 1e11::numeric ^ id)", Anything),
        ("var_pop(n * 1e11::numeric ^ id)", Anything),
        ("stddev_samp(n * 1e11::numeric ^ id)", Anything),
        ("regr_avgx(1, n * 1e11::numeric ^ id)", Anything),
        ("var_pop(t.n * w.w) FROM t, w", Product),
        ("stddev(amount)", Quotient),
        ("corr(a, b)", Quotient),
        ("regr_count(a, b)", Own),
        ("sum(a) / sum(b)", Quotient),
        ("sum(amount) * 1.19", Number),
        (
            "(SELECT sum(price * pieces) FROM o WHERE o.t = t.id)",
            Number,
        ),
        ("percentile_cont(0.5) WITHIN GROUP (ORDER BY amount)", Own),
    ] {
        let from = if text.contains(" FROM ") {
            ""
        } else {
            " FROM t"
        };
        let text = format!("SELECT {text}{from}");
        assert_eq!(first(&text), expected, "{text}");
    }
}

#[test]
fn a_stored_sum_that_factors_may_have_made_long_is_cast_first() {
    let cases = "sum(CASE note WHEN 'n1' THEN n WHEN 'n2' THEN n * 1e3 END)";
    for (value, expected) in [
        (format!("{cases}::text"), true),
        (cases.to_owned(), true),
        (format!("avg{}", cases.trim_start_matches("sum")), true),
        (format!("jsonb_build_object('n', {cases})"), true),
        (format!("concat({cases})"), true),
        (format!("{cases}::numeric"), true),
        (format!("{cases}::numeric(40, 2)"), true),
        (format!("{cases}::bigint"), false),
        (format!("{cases}::int"), false),
        (format!("{cases}::numeric(12, 2)"), false),
        (
            "sum(n * (note = 'n1')::int + n * 1000 * (note = 'n2')::int)".to_owned(),
            true,
        ),
        (
            "sum(CASE WHEN a THEN 1 WHEN b THEN 1000 END)".to_owned(),
            true,
        ),
        ("sum(n * weight)".to_owned(), true),
        ("sum(n * weight)::bigint".to_owned(), false),
        (
            "sum(n) FILTER (WHERE note = 'n1') + 1000 * sum(n) FILTER (WHERE note = 'n2')"
                .to_owned(),
            true,
        ),
        // What is no longer than its values.
        ("sum(n) FILTER (WHERE state = 'won')".to_owned(), false),
        (
            "sum(CASE WHEN state = 'won' THEN n ELSE 0 END)".to_owned(),
            false,
        ),
        (
            "sum(CASE WHEN state = 'won' THEN 1 ELSE 0 END)".to_owned(),
            false,
        ),
        (
            "sum(CASE WHEN state = 'won' THEN n / 100 END)".to_owned(),
            false,
        ),
        ("sum(cents) / 100.0".to_owned(), false),
        ("sum(n) - sum(fee)".to_owned(), false),
        ("round(avg(n), 2)".to_owned(), false),
        ("count(*) FILTER (WHERE state = 'won')".to_owned(), false),
    ] {
        let text = format!("INSERT INTO m SELECT {value} FROM t");
        let as_read = first(&text.replace("INSERT INTO m ", ""));
        assert_eq!(of(&text).stores_many, expected, "{text}: {as_read:?}");
    }
    let text = "INSERT INTO m SELECT sum(v) FROM (SELECT CASE note WHEN 'n1' THEN n ELSE n * 1e3 END AS v FROM t) x";
    assert!(of(text).stores_many);
}
