//! A name server on loopback that says what the test says.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Condvar, Mutex};

/// An answer: its type's number and its data.
#[derive(Debug, Clone)]
pub(crate) enum Data {
    A(Ipv4Addr),
    /// Priority, weight, port, target.
    Srv(u16, u16, u16, &'static str),
}

/// Names, each with how long its answers hold, in seconds, and with the answers. Others do not exist.
type Zone = HashMap<String, (u32, Vec<Data>)>;

#[derive(Debug)]
pub(crate) struct Dns {
    zone: Arc<Mutex<Zone>>,
    /// Nobody is answered.
    held: Arc<(Mutex<bool>, Condvar)>,
    pub(crate) address: SocketAddr,
}

impl Dns {
    pub(crate) fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let dns = Self {
            zone: Arc::default(),
            held: Arc::default(),
            address: socket.local_addr().unwrap(),
        };
        let (zone, held) = (Arc::clone(&dns.zone), Arc::clone(&dns.held));
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((count, from)) = socket.recv_from(&mut buffer) {
                let (held, released) = &*held;
                drop(released.wait_while(held.lock().unwrap(), |held| *held));
                if let Some(reply) = answer(&buffer[..count], &zone.lock().unwrap()) {
                    // A peer that is gone has no use for it.
                    let _ = socket.send_to(&reply, from);
                }
            }
        });
        dns
    }

    pub(crate) fn set(&self, name: &str, ttl: u32, data: &[Data]) {
        let mut zone = self.zone.lock().unwrap();
        zone.insert(name.to_owned(), (ttl, data.to_vec()));
    }

    /// Whether questions stay without an answer, until that is taken back.
    pub(crate) fn hold(&self, held: bool) {
        *self.held.0.lock().unwrap() = held;
        self.held.1.notify_all();
    }

    pub(crate) fn remove(&self, name: &str) {
        self.zone.lock().unwrap().remove(name);
    }
}

fn answer(query: &[u8], zone: &Zone) -> Option<Vec<u8>> {
    let mut at = 12;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8(query.get(at..at + length)?.to_vec()).ok()?);
        at += length;
    }
    let wanted = u16::from_be_bytes(query.get(at..at + 2)?.try_into().ok()?);
    let question = query.get(12..at + 4)?;
    let found = zone.get(&labels.join(".").to_ascii_lowercase());
    let mut reply = query.get(..2)?.to_vec();
    // An answer to a question with recursion; 3: no such name.
    reply.extend_from_slice(&[0x85, if found.is_some() { 0x80 } else { 0x83 }]);
    let mut records = Vec::new();
    let mut count = 0u16;
    for (ttl, data) in found
        .iter()
        .flat_map(|(ttl, all)| all.iter().map(move |one| (ttl, one)))
    {
        let (kind, data) = match data {
            Data::A(addr) => (1u16, addr.octets().to_vec()),
            Data::Srv(priority, weight, port, target) => {
                let mut data = Vec::new();
                for number in [priority, weight, port] {
                    data.extend_from_slice(&number.to_be_bytes());
                }
                for label in target.split('.') {
                    data.push(u8::try_from(label.len()).unwrap());
                    data.extend_from_slice(label.as_bytes());
                }
                data.push(0);
                (33, data)
            }
        };
        if kind != wanted {
            continue;
        }
        count += 1;
        // The name is that of the question.
        records.extend_from_slice(&[0xc0, 12]);
        records.extend_from_slice(&kind.to_be_bytes());
        records.extend_from_slice(&1u16.to_be_bytes());
        records.extend_from_slice(&ttl.to_be_bytes());
        records.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
        records.extend_from_slice(&data);
    }
    for number in [1, count, 0, 0] {
        reply.extend_from_slice(&number.to_be_bytes());
    }
    reply.extend_from_slice(question);
    reply.extend_from_slice(&records);
    Some(reply)
}
