//! What goes out comes back; what Python writes is read; what nobody should send is refused.

use super::*;

fn sample() -> Value {
    Value::Array(vec![
        Value::Int(-5),
        Value::Bool(true),
        Value::from("a & <b> \"c\"\r\n\ttail é\u{1F600}"),
        Value::from(""),
        Value::Double(1.5),
        Value::DateTime("20260102T03:04:05".to_owned()),
        Value::Base64(vec![0, 255, 7]),
        Value::Array(vec![]),
        Value::Struct(vec![]),
        Value::members([("name", Value::from("x")), ("pid", Value::Int(7))]),
    ])
}

#[test]
fn everything_comes_back() {
    let call = write_call("supervisor.x", &[sample(), Value::Int(1)]);
    let want = MethodCall {
        method: "supervisor.x".to_owned(),
        params: vec![sample(), Value::Int(1)],
    };
    assert_eq!(read_call(call.as_bytes()), Ok(want));
    let answer = write_response(sample());
    assert_eq!(read_answer(answer.as_bytes()), Ok(Ok(sample())));
    let fault = Fault {
        code: 10,
        text: "BAD_NAME: <x>".to_owned(),
    };
    assert_eq!(
        read_answer(write_fault(&fault).as_bytes()),
        Ok(Err(fault.clone()))
    );
}

#[test]
fn what_is_written_at_once_is_what_values_become() {
    let texts = ["plain", "a & <b>\r\n", "", "é\u{ffff}\u{1}x", "\u{f900}"];
    let mut writer = ArrayWriter::with_capacity(0);
    let mut values = Vec::new();
    for (number, text) in (-2..).zip(texts) {
        writer.add_struct(|out| {
            out.text("text & name", text);
            out.int("number", number);
            if number == 0 {
                out.int("more", i32::MIN);
            }
        });
        let mut members = vec![
            ("text & name".to_owned(), Value::from(text)),
            ("number".to_owned(), Value::Int(number)),
        ];
        if number == 0 {
            members.push(("more".to_owned(), Value::Int(i32::MIN)));
        }
        values.push(Value::Struct(members));
        // The same names in another order, and with other values.
        writer.add_struct(|out| {
            out.text("number", text);
            out.text("text & name", text);
        });
        values.push(Value::members([
            ("number", Value::from(text)),
            ("text & name", Value::from(text)),
        ]));
    }
    let (at_once, values) = (writer.finish(), Value::Array(values));
    assert_eq!(
        write_response(at_once.clone()),
        write_response(values.clone())
    );
    let nested = |value| write_response(Value::Array(vec![value, Value::Int(1)]));
    assert_eq!(nested(at_once), nested(values));
}

#[test]
fn no_prefix_is_a_message() {
    for text in [
        write_call("m.n", &[sample()]),
        write_response(sample()),
        write_fault(&Fault {
            code: 1,
            text: "é".to_owned(),
        }),
    ] {
        let bytes = text.trim_end().as_bytes();
        for cut in 0..bytes.len() {
            assert!(read_call(&bytes[..cut]).is_err(), "cut at {cut}");
            assert!(read_answer(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }
}

/// As `xmlrpc.client.dumps` of CPython 3.11 writes it.
#[test]
fn laid_out_as_python_does() {
    let value = Value::members([
        ("a", Value::Array(vec![Value::Int(1), Value::Bool(false)])),
        ("b", Value::from("x<y")),
    ]);
    let want = "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n<value><struct>\n<member>\n<name>a</name>\n\
        <value><array><data>\n<value><int>1</int></value>\n<value><boolean>0</boolean></value>\n</data></array></value>\n\
        </member>\n<member>\n<name>b</name>\n<value><string>x&lt;y</string></value>\n</member>\n</struct></value>\n\
        </param>\n</params>\n</methodResponse>\n";
    assert_eq!(write_response(value), want);
    let want = "<?xml version='1.0'?>\n<methodResponse>\n<fault>\n<value><struct>\n<member>\n<name>faultCode</name>\n\
        <value><int>1</int></value>\n</member>\n<member>\n<name>faultString</name>\n<value><string>UNKNOWN_METHOD</string>\
        </value>\n</member>\n</struct></value>\n</fault>\n</methodResponse>\n";
    let fault = Fault {
        code: 1,
        text: "UNKNOWN_METHOD".to_owned(),
    };
    assert_eq!(write_fault(&fault), want);
    assert!(write_response(Value::from("\x1b[1m\0")).contains("\u{fffd}[1m\u{fffd}"));
}

#[track_caller]
fn check(text: &str, want: &str) {
    let got = match read_call(text.as_bytes()) {
        Ok(call) => format!("{} {:?}", call.method, call.params),
        Err(error) => error.to_string(),
    };
    assert!(got.contains(want), "{text}\nbecame {got}\nnot {want}");
}

fn with(value: &str) -> String {
    format!(
        "<methodCall><methodName>m</methodName><params><param>{value}</param></params></methodCall>"
    )
}

#[test]
fn calls_of_other_clients() {
    check(
        "<methodCall><methodName>a.b</methodName></methodCall>",
        "a.b []",
    );
    check(
        "<?xml version=\"1.0\"?>\n<!-- hello -->\n<methodCall>\n <methodName> a.b </methodName>\n <params/>\n</methodCall>",
        "a.b []",
    );
    check(
        &with("<value>plain &amp; &#65;</value>"),
        "Str(\"plain & A\")",
    );
    check(&with("<value/>"), "Str(\"\")");
    check(&with("<value><string/></value>"), "Str(\"\")");
    check(&with("<value><![CDATA[<x>]]></value>"), "Str(\"<x>\")");
    check(&with("<value><i4> 7 </i4></value>"), "Int(7)");
    check(&with("<value><array><data/></array></value>"), "Array([])");
}

#[test]
fn what_is_refused() {
    check("", "found the end");
    check("hello", "expected methodCall");
    check(
        "<methodCall><methodName></methodName></methodCall>",
        "without a method name",
    );
    check("<methodCall><params/></methodCall>", "expected methodName");
    check(
        "<methodCall><methodName>a</methodName></methodCall><x/>",
        "expected the end",
    );
    check(
        "<!DOCTYPE x [<!ENTITY a \"aaaa\">]><methodCall/>",
        "not allowed",
    );
    check(&with("<value>&a;</value>"), "reference &a;");
    check(&with("<value>&#xFFFFFFFF;</value>"), "reference");
    check(&with("<value><int>9999999999</int></value>"), "is no int");
    check(
        &with("<value><boolean>yes</boolean></value>"),
        "is no boolean",
    );
    check(&with("<value><nil/></value>"), "found <nil>");
    check(&with("<value><string>a</int></value>"), "not usable as XML");
    check(&with("<value><base64>%%</base64></value>"), "is no base64");
    let deep = format!(
        "{}{}",
        "<value><array><data>".repeat(40),
        "</data></array></value>".repeat(40)
    );
    check(&with(&deep), "nested deeper");
    assert!(read_call(b"\xff\xfe").is_err());
    let many = with(&format!(
        "<value><array><data>{}</data></array></value>",
        "<value>x</value>".repeat(MAX_VALUES)
    ));
    check(&many, "more than");
    assert_eq!(
        read_call(&vec![b' '; MAX_BYTES + 1]),
        Err(ReadError::TooLarge(MAX_BYTES + 1))
    );
}
