use super::*;

fn lifted(text: &str) -> Vec<&str> {
    let shape = Shape::of(text).expect("literals");
    let lifted = shape.lifted().unwrap_or_default();
    let all = shape.literals.iter().zip(lifted);
    all.filter(|(_, lifted)| *lifted)
        .map(|(literal, _)| shape.raw(literal))
        .collect()
}

#[test]
fn only_values_that_are_compared_or_stored_are_lifted() {
    for (text, expected) in [
        ("SELECT 1 FROM t WHERE a = 2 ORDER BY 3 LIMIT 4", vec!["2"]),
        (
            "SELECT a FROM t WHERE b IN (1, 'x') AND NOT c BETWEEN 2 AND 3",
            vec!["1", "'x'", "2", "3"],
        ),
        (
            "UPDATE t SET a = a + -5, b = 'x' WHERE c = 6",
            vec!["5", "'x'", "6"],
        ),
        (
            "INSERT INTO t VALUES (1, 'a'), (2, f('b'))",
            vec!["1", "'a'", "2"],
        ),
        (
            "SELECT a FROM t WHERE b = f('x') AND c = 'y'::regclass AND d = date 'z'",
            vec![],
        ),
        (
            "SELECT a FROM t JOIN u ON t.a = u.a AND u.k = 7 GROUP BY 1 HAVING count(*) > 8",
            vec!["7"],
        ),
        ("SELECT (SELECT x FROM u WHERE y = 3) FROM t", vec!["3"]),
        // Equal ones move together or not at all.
        ("SELECT 1 FROM t WHERE a = 1 AND b = 2", vec!["2"]),
        ("SET x TO 'y'", vec![]),
        (
            "SELECT set_config('a', 'b', true) WHERE 'c' = 'd'",
            vec!["'c'", "'d'"],
        ),
        ("SELECT a FROM t WHERE a LIKE 'x%' AND b ~ 'y'", vec![]),
        ("SELECT a FROM t WHERE b OPERATOR(pg_catalog.=) 1", vec![]),
        (
            "SELECT a FROM t WHERE b = 9999999999 OR c = 1.5 OR d = E'x' OR e = 'k'",
            vec!["'k'"],
        ),
    ] {
        assert_eq!(lifted(text), expected, "{text}");
    }
}

#[test]
fn the_key_tells_kinds_and_equalities_apart() {
    let key = |text| Shape::of(text).expect("literals").key();
    let base = key("SELECT a FROM t WHERE b = 1 AND c = 2");
    assert_eq!(base, key("SELECT a FROM t WHERE b = 7 AND c = 888"));
    for other in [
        "SELECT a FROM t WHERE b = 1 AND c = 1",
        "SELECT a FROM t WHERE b = '1' AND c = 2",
        "SELECT a FROM t WHERE b = 1 AND c = 2 ",
        "SELECT a FROM t WHERE b = 1 AND c =  2",
        "SELECT a FROM t WHERE b = 1 AND c = 2.0",
        "SELECT a FROM t WHERE b = 1 AND c = 2000000000",
    ] {
        assert_ne!(base, key(other), "{other}");
    }
}

#[test]
fn strings_that_go_on_and_control_characters_have_no_shape() {
    assert!(Shape::of("SELECT 'a'\n'b'").is_some_and(|shape| shape.literals.len() == 1));
    assert!(Shape::of("SELECT a FROM t WHERE b = '\u{1}'").is_none());
    assert!(Shape::of("SELECT a FROM t").is_none());
}
