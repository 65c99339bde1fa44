//! Variables that are written in place, read again by each protocol's reader.

use trine_gateway::fastcgi::{Event, Kind, Role, Server, write_begin, write_end_stream};
use trine_gateway::{Form, Pairs, scgi, uwsgi};

const FASTCGI: Form = Form::FastCgi { id: 1 };
const UWSGI: Form = Form::Uwsgi {
    modifier1: 5,
    modifier2: 7,
};
const SCGI: Form = Form::Scgi { content_length: 12 };

type Pair = (Vec<u8>, Vec<u8>);

/// What a reader finds behind bytes that were there before.
fn read(form: Form, write: impl Fn(&mut Pairs<'_>)) -> Vec<Pair> {
    let mut out = b"before".to_vec();
    let mut server = Server::new(1 << 20, 1);
    if form == FASTCGI {
        let mut begin = vec![];
        write_begin(&mut begin, 1, Role::Responder, false);
        assert_eq!(server.advance(&begin, &mut vec![]).unwrap().0, Event::More);
    }
    let mut pairs = Pairs::new(&mut out, form);
    write(&mut pairs);
    pairs.end().unwrap();
    let wire = out.strip_prefix(b"before").unwrap();
    let own = |(name, value): (&[u8], &[u8])| (name.to_vec(), value.to_vec());
    match form {
        Form::FastCgi { .. } => {
            let mut wire = wire.to_vec();
            write_end_stream(&mut wire, Kind::STDIN, 1);
            let (event, _) = server.advance(&wire, &mut vec![]).unwrap();
            assert_eq!(event, Event::Request);
            server.params().map(|pair| own(pair.unwrap())).collect()
        }
        Form::Uwsgi { .. } => {
            let (packet, used) = uwsgi::decode(wire, 1 << 16).unwrap().unwrap();
            assert_eq!((packet.modifier1, packet.modifier2), (5, 7));
            assert_eq!(used, wire.len());
            packet.vars().map(|pair| own(pair.unwrap())).collect()
        }
        Form::Scgi { .. } => {
            let (vars, used) = scgi::decode(wire, 1 << 20).unwrap().unwrap();
            assert_eq!(used, wire.len());
            let mut all: Vec<Pair> = vars.map(|pair| own(pair.unwrap())).collect();
            assert_eq!(all.remove(0), own((b"CONTENT_LENGTH", b"12")));
            let version = all.iter().position(|(name, _)| name == b"SCGI").unwrap();
            all.remove(version);
            all
        }
    }
}

#[test]
fn lengths_of_every_width() {
    for form in [FASTCGI, UWSGI, SCGI] {
        for name in [1, 127, 128, 300] {
            for value in [0, 1, 127, 128, 129, 1000] {
                let pair = (vec![b'N'; name], vec![b'v'; value]);
                let last = (b"LAST".to_vec(), b"1".to_vec());
                let found = read(form, |pairs| {
                    pairs.pair(&pair.0, &pair.1);
                    pairs.pair(&last.0, &last.1);
                });
                assert_eq!(found, [pair, last], "{form:?} {name} {value}");
            }
        }
    }
}

#[test]
fn a_value_grows_in_place_and_a_pair_can_be_left_out() {
    for form in [FASTCGI, UWSGI, SCGI] {
        let found = read(form, |pairs| {
            pairs.open(1).push(b'A');
            assert_eq!(pairs.name(), b"A");
            let value = pairs.value();
            for _ in 0..40 {
                value.extend_from_slice(b"12345");
            }
            pairs.close();
            pairs.open(4).extend_from_slice(b"GONE");
            pairs.leave_out();
            pairs.open(4).extend_from_slice(b"GONE");
            pairs.value().extend_from_slice(b"too");
            pairs.leave_out();
            pairs.pair(b"B", b"");
        });
        let want = [
            (b"A".to_vec(), b"12345".repeat(40)),
            (b"B".to_vec(), b"".to_vec()),
        ];
        assert_eq!(found, want, "{form:?}");
    }
}

#[test]
fn more_than_one_record() {
    // Exactly as much as a record takes, one byte more, and many records; and nothing at all.
    for length in [65_528 - 6, 65_528 - 5, 200_000] {
        let value = vec![b'x'; length];
        let found = read(FASTCGI, |pairs| pairs.pair(b"A", &value));
        assert!(found == [(b"A".to_vec(), value)], "{length}");
    }
    assert_eq!(read(FASTCGI, |_| ()), []);
    assert_eq!(read(UWSGI, |_| ()), []);
    assert_eq!(read(SCGI, |_| ()), []);
}

#[test]
fn what_scgi_cannot_say_is_left_out() {
    let found = read(SCGI, |pairs| {
        pairs.pair(b"CONTENT_LENGTH", b"9");
        pairs.pair(b"", b"no name");
        pairs.pair(b"N\0UL", b"x");
        pairs.pair(b"X", b"a\0SCGI\x002");
        pairs.pair(b"SCGI", b"2");
        pairs.pair(b"SCGI", b"1");
        pairs.pair(b"SCGI", b"1");
        pairs.pair(b"B", b"2");
    });
    assert_eq!(found, [(b"B".to_vec(), b"2".to_vec())]);
}
