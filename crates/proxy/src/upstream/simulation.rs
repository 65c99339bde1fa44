//! A seeded simulation: servers that fail in every way, requests of every kind, and what must hold after each step.
//!
//! The real choice (`Group::pick`), the real counts (`Squad`) and the real rule (`Retries`) are driven; sockets are not.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::fleet::Squad;
use super::monitor::health::Health;
use super::pool::Peer;
use super::retry::{Lost, Retries};
use super::{Group, NoSeat, Seat};
use crate::config::{
    HealthCheck, KeepAlive, Method, NextUpstream, PeerAddr, Upstream, UpstreamServer,
};
use crate::dice::Dice;
use crate::template::Template;

/// What a server does with the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Answers,
    Refuses,
    /// It does what it was asked and dies before it says so.
    DoesAndDies,
    DoesAndHangs,
}

fn group(dice: &mut Dice) -> Group {
    let method = match dice.below(6) {
        0 => Method::RoundRobin,
        1 => Method::LeastConn,
        2 => Method::IpHash,
        3 => Method::Random { two: true },
        kind => Method::Hash {
            key: Template::literal("x"),
            consistent: kind == 4,
        },
    };
    let count = 1 + dice.number(5);
    let backups = !matches!(method, Method::IpHash | Method::Hash { .. }) && count > 1;
    let servers: Vec<_> = (0..count)
        .map(|number| UpstreamServer {
            weight: 1 + dice.number(4),
            max_fails: dice.number(3),
            // Time plays no part: aside is aside.
            fail_timeout: Duration::from_secs(3600),
            max_conns: dice.number(4),
            down: number > 0 && dice.below(5) == 0,
            ..UpstreamServer::new(PeerAddr::Name(format!("server-{number}"), 80))
        })
        .collect();
    let peers = servers
        .iter()
        .map(|one| Rc::new(Peer::new(one.addr.clone())));
    let peers = peers.collect();
    let health = (dice.below(2) == 0).then(|| HealthCheck::new("app"));
    let config = Arc::new(Upstream {
        health,
        primaries: servers.len() - usize::from(backups && dice.below(2) == 0),
        servers,
        method,
        ..Upstream::single(
            "app",
            PeerAddr::Name("x".to_owned(), 80),
            KeepAlive::default(),
        )
    });
    Group::new(peers, Squad::new(&config, None))
}

/// One request: how often it was done, and the seat it holds if it is answered.
fn request(group: &Group, moods: &[Mood], dice: &mut Dice) -> (u32, Option<Seat>) {
    let policy = NextUpstream {
        non_idempotent: false,
        tries: dice.number(4),
        ..NextUpstream::default()
    };
    let safe = dice.below(2) == 0;
    let method = if safe { "GET" } else { "POST" };
    let held = dice.below(4) > 0;
    let mut retries = Retries::new(&policy, method, held, group.usable());
    let mut trip = group.trip(|_| dice_key(dice.below(1000)));
    let mut asked: BTreeMap<usize, u32> = BTreeMap::new();
    let mut done = 0;
    loop {
        let seat = match group.pick(&mut trip) {
            Ok(seat) => seat,
            Err(NoSeat::Full | NoSeat::None) => return (done, None),
        };
        let server = &group.config.servers[seat.index];
        assert!(!server.down, "one that is down was asked");
        let standing = &group.squad.servers[seat.index];
        assert!(
            standing.is_in(),
            "one that is unhealthy or drained was asked"
        );
        let times = asked.entry(seat.index).or_default();
        *times += 1;
        let alone = group.peers.len() == 1;
        assert!(*times == 1 || alone, "a server was asked twice");
        let lost = match moods[seat.index] {
            Mood::Answers => {
                group.answered(seat.index);
                return (done + 1, Some(seat));
            }
            Mood::Refuses => Lost::Connect,
            Mood::DoesAndDies => Lost::Unanswered,
            Mood::DoesAndHangs => Lost::Timeout,
        };
        done += u32::from(lost != Lost::Connect);
        group.failed(seat.index);
        if lost == Lost::Connect || !alone {
            trip.mark(seat.index);
        }
        if !retries.again(lost, false, Duration::from_millis(1)) {
            return (done, None);
        }
        assert!(
            done == 0 || (safe && held),
            "{method} (body held: {held}) is sent again after it may have been done"
        );
    }
}

fn dice_key(number: u64) -> Vec<u8> {
    number.to_be_bytes()[5..].to_vec()
}

#[test]
fn invariants_hold_whatever_fails() {
    for seed in 0..400 {
        let mut dice = Dice(seed);
        let group = group(&mut dice);
        let count = group.peers.len();
        let checked = group.config.health.is_some();
        let mut moods = vec![Mood::Answers; count];
        let mut held: Vec<Seat> = Vec::new();
        for step in 0..200 {
            match dice.below(12) {
                10 => {
                    let index = usize::try_from(dice.below(count as u64)).unwrap();
                    group.squad.servers[index].drain(dice.below(2) == 0);
                }
                11 => {
                    let index = usize::try_from(dice.below(count as u64)).unwrap();
                    let sick = checked && dice.below(2) == 0;
                    let health = if sick { Health::Down } else { Health::Up };
                    group.squad.servers[index].set_health(health, group.squad.now());
                }
                0 => {
                    let index = usize::try_from(dice.below(count as u64)).unwrap();
                    moods[index] = match dice.below(5) {
                        0 => Mood::Refuses,
                        1 => Mood::DoesAndDies,
                        2 => Mood::DoesAndHangs,
                        _ => Mood::Answers,
                    };
                }
                1..=3 if !held.is_empty() => {
                    let index = usize::try_from(dice.below(held.len() as u64)).unwrap();
                    held.swap_remove(index);
                }
                _ => {
                    let (done, seat) = request(&group, &moods, &mut dice);
                    let all_well = moods.iter().all(|mood| *mood == Mood::Answers);
                    assert!(
                        done <= 1 || !all_well,
                        "seed {seed} step {step}: done twice"
                    );
                    held.extend(seat);
                }
            }
            for (index, server) in group.config.servers.iter().enumerate() {
                let conns = group.squad.servers[index].conns();
                let most = server.max_conns;
                assert!(
                    most == 0 || conns <= most,
                    "seed {seed} step {step}: {conns} over {most}"
                );
                let counted = held
                    .iter()
                    .filter(|one| one.index == index && one.ticket.is_some());
                assert_eq!(
                    conns as usize,
                    counted.count(),
                    "seed {seed} step {step}: a count leaks"
                );
            }
        }
        // However it went, all that answer again are asked again.
        drop(held);
        moods.fill(Mood::Answers);
        for standing in &group.squad.servers {
            standing.drain(false);
            standing.set_health(Health::Up, group.squad.now());
        }
        let (done, seat) = request(&group, &moods, &mut dice);
        assert!(
            done == 1 && seat.is_some(),
            "seed {seed}: nobody is asked any more"
        );
    }
}
