use super::*;
use crate::config::PeerAddr;
use crate::template::Template;

/// Which may not be asked, and how many connections each has.
#[derive(Default)]
struct Known {
    out: Vec<usize>,
    conns: Vec<u64>,
    shares: Vec<i64>,
}

impl View for Known {
    fn is_usable(&self, index: usize) -> bool {
        !self.out.contains(&index)
    }

    fn conns(&self, index: usize) -> u64 {
        self.conns.get(index).copied().unwrap_or(0)
    }

    fn share(&self, index: usize) -> i64 {
        self.shares.get(index).copied().unwrap_or(100)
    }
}

fn servers(weights: &[u32]) -> Vec<UpstreamServer> {
    let server = |(index, &weight): (usize, &u32)| UpstreamServer {
        weight,
        ..UpstreamServer::new(PeerAddr::Ip(([127, 0, 0, 1], 8001 + index as u16).into()))
    };
    weights.iter().enumerate().map(server).collect()
}

fn hash(consistent: bool) -> Method {
    Method::Hash {
        key: Template::literal("x"),
        consistent,
    }
}

/// A small generator, so that chance is the same each time.
fn dice(mut seed: u64) -> impl FnMut() -> u64 {
    move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        seed >> 33
    }
}

fn pick(balance: &mut Balance, view: &Known, key: &[u8]) -> Option<usize> {
    let mut walk = Walk {
        key: key.to_vec(),
        ..Walk::default()
    };
    balance.pick(&mut walk, view, &mut dice(key.len() as u64))
}

#[test]
fn round_robin_is_smooth_and_fair() {
    let mut balance = Balance::new(&Method::RoundRobin, &servers(&[5, 1, 1]));
    let view = Known::default();
    let order: Vec<_> = (0..14)
        .filter_map(|_| pick(&mut balance, &view, b""))
        .collect();
    assert_eq!(order, [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0]);
    let view = Known {
        out: vec![0],
        ..Known::default()
    };
    let order: Vec<_> = (0..4)
        .filter_map(|_| pick(&mut balance, &view, b""))
        .collect();
    assert_eq!(
        order.iter().filter(|&&one| one == 1).count(),
        2,
        "{order:?}"
    );
    let view = Known {
        out: vec![0, 1, 2],
        ..Known::default()
    };
    assert_eq!(pick(&mut balance, &view, b""), None);
}

#[test]
fn a_server_that_failed_gets_less_until_it_has_answered() {
    let mut balance = Balance::new(&Method::RoundRobin, &servers(&[10, 10]));
    balance.failed(0, 1);
    let view = Known::default();
    let firsts = (0..20)
        .filter_map(|_| pick(&mut balance, &view, b""))
        .filter(|&one| one == 0)
        .count();
    assert!((4..9).contains(&firsts), "{firsts}");
    let later = (0..20)
        .filter_map(|_| pick(&mut balance, &view, b""))
        .filter(|&one| one == 0)
        .count();
    assert_eq!(later, 10);
}

#[test]
fn a_slow_start_takes_its_share_only() {
    let mut balance = Balance::new(&Method::RoundRobin, &servers(&[1, 1]));
    let view = Known {
        shares: vec![25, 100],
        ..Known::default()
    };
    let firsts = (0..100)
        .filter_map(|_| pick(&mut balance, &view, b""))
        .filter(|&one| one == 0)
        .count();
    assert_eq!(firsts, 20);
}

#[test]
fn least_connections_go_by_weight_and_then_in_turn() {
    let mut balance = Balance::new(&Method::LeastConn, &servers(&[1, 2, 1]));
    let mut check = |conns: &[u64], want: &[usize]| {
        let view = Known {
            conns: conns.to_vec(),
            ..Known::default()
        };
        for want in want {
            assert_eq!(pick(&mut balance, &view, b""), Some(*want), "{conns:?}");
        }
    };
    check(&[1, 1, 1], &[1, 1]);
    check(&[1, 2, 0], &[2]);
    check(&[1, 2, 2], &[1, 0, 1, 1, 0, 1]);
}

#[test]
fn addresses_keep_their_server() {
    let mut balance = Balance::new(&Method::IpHash, &servers(&[1, 1, 1]));
    let mut other = Balance::new(&Method::IpHash, &servers(&[1, 1, 1]));
    let mut counts = [0; 3];
    for a in 0..30u8 {
        for b in 0..30u8 {
            let key = [10, a, b];
            let first = pick(&mut balance, &Known::default(), &key).unwrap();
            counts[first] += 1;
            assert_eq!(pick(&mut other, &Known::default(), &key), Some(first));
            // One that cannot be asked does not move the clients of others.
            let view = Known {
                out: vec![(first + 1) % 3],
                ..Known::default()
            };
            assert_eq!(pick(&mut balance, &view, &key), Some(first));
            let view = Known {
                out: vec![first],
                ..Known::default()
            };
            assert_ne!(pick(&mut balance, &view, &key), Some(first));
        }
    }
    assert!(
        counts.iter().all(|count| (200..400).contains(count)),
        "{counts:?}"
    );
}

#[test]
fn consistent_hashing_moves_only_the_keys_of_who_left() {
    let three = servers(&[1, 1, 1]);
    let two = vec![three[0].clone(), three[2].clone()];
    let mut before = Balance::new(&hash(true), &three);
    let mut after = Balance::new(&hash(true), &two);
    let mut counts = [0; 3];
    for number in 0..3000 {
        let key = format!("/page/{number}");
        let was = pick(&mut before, &Known::default(), key.as_bytes()).unwrap();
        let is = pick(&mut after, &Known::default(), key.as_bytes()).unwrap();
        counts[was] += 1;
        match was {
            0 => assert_eq!(is, 0),
            2 => assert_eq!(is, 1),
            _ => {}
        }
    }
    assert!(
        counts.iter().all(|count| (700..1300).contains(count)),
        "{counts:?}"
    );
}

#[test]
fn plain_hashing_spreads_and_goes_on() {
    let mut balance = Balance::new(&hash(false), &servers(&[1, 3]));
    let mut counts = [0; 2];
    for number in 0..4000 {
        let key = number.to_string();
        counts[pick(&mut balance, &Known::default(), key.as_bytes()).unwrap()] += 1;
        let view = Known {
            out: vec![0],
            ..Known::default()
        };
        assert_eq!(pick(&mut balance, &view, key.as_bytes()), Some(1));
    }
    assert!((700..1300).contains(&counts[0]), "{counts:?}");
}

#[test]
fn of_two_the_less_busy() {
    let method = Method::Random { two: true };
    let mut balance = Balance::new(&method, &servers(&[1, 1]));
    let view = Known {
        conns: vec![5, 1],
        ..Known::default()
    };
    let mut chance = dice(7);
    for _ in 0..100 {
        assert_eq!(
            balance.pick(&mut Walk::default(), &view, &mut chance),
            Some(1)
        );
    }
    let mut balance = Balance::new(&Method::Random { two: false }, &servers(&[1, 3]));
    let mut counts = [0; 2];
    for _ in 0..4000 {
        counts[balance
            .pick(&mut Walk::default(), &view, &mut chance)
            .unwrap()] += 1;
    }
    assert!((700..1300).contains(&counts[0]), "{counts:?}");
}
