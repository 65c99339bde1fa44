//! What the dialect makes of a text. Each table row was tried with Python's RawConfigParser, set up as supervisord does.

use super::*;

fn read(text: &str) -> (Ini, Problems, Problems) {
    let (mut ini, mut problems, mut traps) = (Ini::default(), Problems::new(), Problems::new());
    ini.read(text, Path::new("s.conf"), &mut problems, &mut traps);
    (ini, problems, traps)
}

#[track_caller]
fn check(text: &str, want: &str) {
    let (ini, problems, _) = read(text);
    let mut got = String::new();
    for section in ini.sections() {
        for entry in section.own_entries() {
            let (key, value) = (&entry.key, &entry.value);
            got.push_str(&format!("{}.{key}={value:?};", section.name));
        }
    }
    if !problems.is_empty() {
        got.push_str(&problems.to_string());
    }
    assert_eq!(got, want, "{text:?}");
}

#[test]
fn values() {
    check("[a]\nx=1\nY : 2\n z = 3 ", r#"a.x="1";a.y="2\nz = 3";"#);
    check("[a]\r\nx=1\r\n", "a.x=\"1\";");
    check("[a] trailing\nx=1", "a.x=\"1\";");
    check("[a:b]\nx=a=b:c", "a:b.x=\"a=b:c\";");
    check("[a]\nx=", "a.x=\"\";");
    check("[a]\nx=1\nx=2", "a.x=\"2\";");
    check(
        "[a]\nx=1\n[b]\ny=2\n[a]\nz=3",
        "a.x=\"1\";a.z=\"3\";b.y=\"2\";",
    );
    check("[A]\nx=1\n[a]\nx=2", "A.x=\"1\";a.x=\"2\";");
}

#[test]
fn comments() {
    check(
        "; one\n# two\n[a]\n;x=1\nx=1 ; three\ny=a;b\nz=x#y\nw=v #u",
        "a.x=\"1\";a.y=\"a;b\";a.z=\"x#y\";a.w=\"v\";",
    );
    check("[a]\nx=\"b ;c\"", "a.x=\"\\\"b\";");
    check("[a]\nx=1\t;c", "a.x=\"1\";");
    check("[a]\nx= ;c\ny=1", "a.x=\"\";a.y=\"1\";");
}

#[test]
fn continuations() {
    check("[a]\nx=1\n  2\n\t3", "a.x=\"1\\n2\\n3\";");
    check("[a]\nx=1\n\n  2\n\n", "a.x=\"1\\n\\n2\";");
    check("[a]\nx=1\n  ; no\n  2", "a.x=\"1\\n2\";");
    check("[a]\nx=1\n# no\n  2", "a.x=\"1\\n2\";");
    check("[a]\n  x=1\n  y=2", "a.x=\"1\";a.y=\"2\";");
    check("[a]\n  x=1\n    2\n y=2", "a.x=\"1\\n2\";a.y=\"2\";");
    check("[a]\nx=1\n [b]", "a.x=\"1\\n[b]\";");
}

#[test]
fn what_is_no_ini() {
    check(
        "x=1",
        "s.conf:1: stands before any [section]; begin with a section, such as [supervisord]",
    );
    check(
        "[a]\nnonsense\n=1\n[]",
        "s.conf:2: [a]: neither a [section] nor KEY = VALUE: \"nonsense\"; indent it if it goes on with the line before\n\
         s.conf:3: [a]: neither a [section] nor KEY = VALUE: \"=1\"; indent it if it goes on with the line before\n\
         s.conf:4: [a]: neither a [section] nor KEY = VALUE: \"[]\"; indent it if it goes on with the line before",
    );
}

#[test]
fn defaults_count_where_a_section_is_silent() {
    let (ini, _, _) = read("[a]\nx=1\n[DEFAULT]\nx=2\ny=3");
    let a = ini.section("a").unwrap();
    let value = |key| a.get(key).map(|entry| entry.value.as_str());
    assert_eq!(
        (value("x"), value("y"), value("z")),
        (Some("1"), Some("3"), None)
    );
    assert!(ini.section("DEFAULT").is_none());
}

#[test]
fn traps_and_places() {
    let (_, _, traps) = read("[a]\nx=1\nx=2\ny=\"b ;c\"\nz=don't ;do\n[a]\n");
    let told: Vec<_> = traps.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].starts_with("s.conf:3: [a].x: is given already in line 2"));
    assert!(
        told[1].starts_with("s.conf:4: [a]: the value ends at \";c\\\"\""),
        "{told:?}"
    );
    assert!(told[2].starts_with("s.conf:6: [a]: this section is there already, at s.conf:1"));
    let mut ini = read("[a]\nx=1\n").0;
    let (mut problems, mut traps) = (Problems::new(), Problems::new());
    ini.read("\n[a]\ny=2", Path::new("t.conf"), &mut problems, &mut traps);
    let place = ini.section("a").unwrap().place();
    assert_eq!(place.key("x").to_string(), "s.conf:2: [a].x");
    assert_eq!(place.key("y").to_string(), "t.conf:3: [a].y");
    assert_eq!(place.key("z").to_string(), "s.conf:1: [a].z");
}
