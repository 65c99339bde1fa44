//! Where connections live: places in an array, named by tokens that no later connection answers to.
//!
//! Not here: what connections do.

use super::Io;
use crate::worker::conn::Conn;

/// A connection, for as long as it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token {
    index: u32,
    generation: u32,
}

impl Token {
    /// The place, which later connections take over.
    pub(in crate::worker) fn index(self) -> usize {
        self.index as usize
    }

    pub(super) fn as_u64(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }
}

impl Token {
    /// From the number that epoll gives back.
    pub(super) fn from_u64(number: u64) -> Self {
        Self {
            index: number as u32,
            generation: (number >> 32) as u32,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Place {
    generation: u32,
    conn: Option<Conn>,
}

impl Io {
    /// Takes a connection out; its token is good for nothing from now on.
    pub(super) fn remove(&mut self, token: Token) -> Option<Conn> {
        let place = self.places.get_mut(token.index())?;
        // An old token must not take away the connection that has the place by now, nor free the place twice.
        if place.generation != token.generation || place.conn.is_none() {
            return None;
        }
        place.generation = place.generation.wrapping_add(1) & 0x7fff_ffff;
        self.free.push(token.index);
        place.conn.take()
    }

    pub(super) fn insert(&mut self, conn: Conn) -> Token {
        self.open += 1;
        if let Some(index) = self.free.pop()
            && let Some(place) = self.places.get_mut(index as usize)
        {
            place.conn = Some(conn);
            return Token {
                index,
                generation: place.generation,
            };
        }
        let index = self.places.len() as u32;
        self.places.push(Place {
            generation: 0,
            conn: Some(conn),
        });
        Token {
            index,
            generation: 0,
        }
    }

    pub(in crate::worker) fn get(&self, token: Token) -> Option<&Conn> {
        let place = self.places.get(token.index as usize)?;
        (place.generation == token.generation).then_some(())?;
        place.conn.as_ref()
    }

    pub(in crate::worker) fn get_mut(&mut self, token: Token) -> Option<&mut Conn> {
        place(&mut self.places, token)
    }

    /// All connections of now.
    pub(in crate::worker) fn tokens(&self) -> Vec<Token> {
        let live = self
            .places
            .iter()
            .enumerate()
            .filter(|(_, place)| place.conn.is_some());
        live.map(|(index, place)| Token {
            index: index as u32,
            generation: place.generation,
        })
        .collect()
    }
}

pub(super) fn place(places: &mut [Place], token: Token) -> Option<&mut Conn> {
    let place = places.get_mut(token.index as usize)?;
    if place.generation != token.generation {
        return None;
    }
    place.conn.as_mut()
}
