use super::*;

fn origin() -> Origin {
    Origin::here()
}

#[track_caller]
fn check(how: Check, value: Value, want: &str) {
    let shown = format!("{value:?}");
    let got = validate("name", how, value, &origin())
        .map_or_else(|why| format!("wrong: {why}"), |value| value.to_string());
    assert_eq!(got, want, "{how:?} of {shown}");
}

fn text(text: &str) -> Value {
    Value::text(text)
}

#[test]
fn numbers_are_pythons() {
    for (given, base, want) in [
        ("7", 10, Some(7)),
        (" +7\n", 10, Some(7)),
        ("-7", 10, Some(-7)),
        ("007", 10, Some(7)),
        ("1_000", 10, Some(1000)),
        ("0x10", 10, None),
        ("", 10, None),
        ("_1", 10, None),
        ("1__0", 10, None),
        ("1.0", 10, None),
        ("- 7", 10, None),
        ("--7", 10, None),
        ("0x1F", 0, Some(31)),
        ("0o17", 0, Some(15)),
        ("0b11", 0, Some(3)),
        ("0x_f", 0, Some(15)),
        ("-0x1", 0, Some(-1)),
        ("010", 0, None),
        ("00", 0, Some(0)),
        ("0x", 0, None),
    ] {
        assert_eq!(integer(given, base), want, "int({given:?}, {base})");
    }
}

#[test]
fn counts_and_times() {
    check(Check::Count, Value::Int(3), "3");
    check(Check::Count, Value::Bool(true), "1");
    check(Check::Count, text("0x10"), "16");
    check(
        Check::Count,
        text("many"),
        "wrong: invalid literal for int() with base 0: 'many'",
    );
    check(
        Check::Count,
        Value::Int(-1),
        "wrong: Value must be positive: -1",
    );
    check(
        Check::Count,
        Value::Float(0.5),
        "wrong: int() can't convert non-string with explicit base",
    );
    check(Check::Seconds, Value::Float(0.5), "500ms");
    check(Check::Seconds, text("2m"), "120");
    check(Check::Seconds, text("1500ms"), "1s500ms");
    check(
        Check::Seconds,
        Value::Float(-1.0),
        "wrong: int() can't convert non-string with explicit base",
    );
    check(Check::MaybeSeconds, Value::Nothing, "None");
    check(Check::Size, text("2MiB"), "2097152");
    check(Check::Range(1, 5, "no {}"), Value::Int(6), "wrong: no 6");
}

#[test]
fn words_and_truths() {
    check(Check::Bool, text(" TRUE "), "True");
    check(Check::Bool, Value::Nothing, "None");
    check(Check::Bool, text("yes"), "wrong: Invalid boolean: yes");
    check(
        Check::Bool,
        Value::Int(1),
        "wrong: Invalid type for casting: 1",
    );
    check(Check::Text, text(" a "), "a");
    check(Check::Text, Value::Int(5), "wrong: Not a string: 5");
    check(Check::Texts, text("a"), "['a']");
    check(Check::Texts, Value::Nothing, "[]");
    check(
        Check::Texts,
        Value::List(vec![Value::Int(1)]),
        "wrong: Not a string: 1",
    );
    check(Check::Words, text("a, b,,c"), "['a', 'b', 'c']");
    check(Check::Words, Value::texts(["a", "b"]), "['a', 'b']");
    check(
        Check::OneOf(&["a", "b"], Wrong::Must("it")),
        text(" B"),
        "b",
    );
    check(
        Check::OneOf(&["a", "b"], Wrong::Must("it")),
        text("c"),
        "wrong: it must be one of: a, b",
    );
    check(Check::ProxyProtocol, Value::Bool(true), "auto");
    check(Check::ProxyProtocol, text("V2"), "v2");
}

#[test]
fn networks_are_strict() {
    for good in [
        "127.0.0.1",
        "::1",
        "10.0.0.0/8",
        "10.0.0.0/255.0.0.0",
        "::/0",
        "0.0.0.0/0",
        "*",
        "fe80::/10, *",
    ] {
        let value = text(good);
        assert!(
            validate("name", Check::Addresses, value, &origin()).is_ok(),
            "{good}"
        );
    }
    check(
        Check::Addresses,
        text("10.0.0.1/8"),
        "wrong: 10.0.0.1/8 has host bits set",
    );
    for bad in [
        "localhost",
        "10.0.0.0/33",
        "10.0.0.0/",
        "1.2.3",
        "::/129",
        "10.0.0.0/255.0.255.0",
    ] {
        let value = text(bad);
        assert!(
            validate("name", Check::Addresses, value, &origin()).is_err(),
            "{bad}"
        );
    }
    assert_eq!(network("10.0.0.0/255.0.0.0").unwrap(), "10.0.0.0/8");
}

#[test]
fn statsd_addresses() {
    check(Check::Statsd, text("host"), "('host', 8125)");
    check(Check::Statsd, text("host:1"), "('host', 1)");
    check(Check::Statsd, text("unix:1"), "('unix', 1)");
    check(Check::Statsd, text("unix:///run/s"), "/run/s");
    check(
        Check::Statsd,
        text("host:x"),
        "wrong: Value must be one of ('host:port', 'unix://PATH')",
    );
}

#[test]
fn addresses_to_listen_on() {
    let listen = |given: &str| {
        address::listen(given).map_or_else(|why| format!("wrong: {why}"), |addr| addr.to_string())
    };
    for (given, want) in [
        ("127.0.0.1", "127.0.0.1:8000"),
        ("127.0.0.1:9", "127.0.0.1:9"),
        ("tcp://127.0.0.1:9", "127.0.0.1:9"),
        ("[::1]", "[::1]:8000"),
        ("[::1]:9", "[::1]:9"),
        ("", "0.0.0.0:8000"),
        (":9", "0.0.0.0:9"),
        ("9", "0.0.0.0:9"),
        ("localhost:9", "127.0.0.1:9"),
        ("unix:/run/a", "unix:/run/a"),
        ("unix:///run/a", "unix:/run/a"),
        ("unix://run/a", "unix:run/a"),
        ("fd://3", "fd://3"),
        ("fd:http", "fd:http"),
        ("127.0.0.1:x", "wrong: 'x' is not a valid port number."),
        (
            "127.0.0.1:70000",
            "wrong: '70000' is not a valid port number.",
        ),
        ("fd://x", "wrong: 'x' is not a valid file descriptor."),
    ] {
        assert_eq!(listen(given), want, "{given:?}");
    }
}

#[test]
fn folders_have_no_dots() {
    assert_eq!(normal(Path::new("/a/./b/../c")), Path::new("/a/c"));
    assert_eq!(normal(Path::new("/../a/")), Path::new("/a"));
}
