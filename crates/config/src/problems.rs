//! All that is wrong with a configuration, told at once.

use std::fmt;

use crate::place::Place;

/// One thing that is wrong: where, what, and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub place: Place,
    /// What is wrong, in lower case, without a full stop.
    pub message: String,
    /// What to do; empty when the message says it.
    pub help: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)?;
        if !self.help.is_empty() {
            write!(f, "; {}", self.help)?;
        }
        Ok(())
    }
}

/// Problems, collected while checking goes on. Displays one a line, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "problems that nobody reads let a bad config run"]
pub struct Problems {
    list: Vec<Problem>,
    /// Keys that are there under a name that was mistyped.
    mistyped: Vec<Place>,
}

impl Problems {
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// In the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        let mut sorted: Vec<_> = self.list.iter().collect();
        sorted.sort_by_key(|problem| {
            let place = &problem.place;
            (place.file().to_owned(), place.line(), place.column())
        });
        sorted.into_iter()
    }

    /// Notes what is wrong and what to do about it (may be empty).
    pub fn push(&mut self, place: Place, message: impl fmt::Display, help: impl fmt::Display) {
        self.list.push(Problem {
            place,
            message: message.to_string(),
            help: help.to_string(),
        });
    }

    /// Notes that a key which has no default is missing; not if something is wrong with that key already (then
    /// its value was taken out, and this would be an echo).
    pub fn missing(&mut self, place: Place, help: impl fmt::Display) {
        let mut known = self
            .list
            .iter()
            .map(|problem| &problem.place)
            .chain(&self.mistyped);
        if !known.any(|known| place.covers(known)) {
            self.push(place, "is missing", help);
        }
    }

    /// The key at `place` is not missing: it stands there, misspelt, and is a problem already.
    pub(crate) fn note_mistyped(&mut self, place: Place) {
        self.mistyped.push(place);
    }

    /// The value if there is one, otherwise its error as a problem.
    pub fn keep<T, E: fmt::Display>(&mut self, place: Place, result: Result<T, E>) -> Option<T> {
        result.map_err(|err| self.push(place, err, "")).ok()
    }

    /// Leaves out what was noted more than once.
    pub fn dedup(&mut self) {
        let list = std::mem::take(&mut self.list);
        for problem in list {
            if !self.list.contains(&problem) {
                self.list.push(problem);
            }
        }
    }

    pub fn append(&mut self, mut others: Self) {
        self.list.append(&mut others.list);
        self.mistyped.append(&mut others.mistyped);
    }

    /// Ends a check: the value, if nothing at all is wrong.
    ///
    /// # Errors
    /// Itself, when there are problems. `None` without a problem is a bug of the check and told as one.
    pub fn finish<T>(mut self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.is_empty() => Ok(value),
            None if self.is_empty() => {
                let place = Place::file_only("config");
                self.push(
                    place,
                    "could not be used, and no reason was noted",
                    "please report this",
                );
                Err(self)
            }
            _ => Err(self),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
