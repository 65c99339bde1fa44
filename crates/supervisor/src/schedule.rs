//! Cron expressions: text in, the next time out. Pure: the caller brings the clock and the time zone.
//! Not here: starting anything (see `brain::timers`).

use jiff::Zoned;
use jiff::civil::{DateTime, time};
use serde::{Deserialize, Serialize};

/// Five fields as `crontab(5)` has them: lists, ranges, steps, names of months and weekdays, and `@daily` and its like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cron {
    text: String,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Both days and weekdays are restricted: either will do.
    either: bool,
}

/// Nothing that fits comes within so many years: 29 February is at most eight years away.
const YEARS: i16 = 9;

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl TryFrom<String> for Cron {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<Cron> for String {
    fn from(cron: Cron) -> Self {
        cron.text
    }
}

impl Cron {
    pub fn parse(text: &str) -> Result<Self, String> {
        let plain = match text.trim() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            other if other.starts_with('@') => {
                return Err(format!(
                    "{other:?} is not known here; there are @hourly, @daily, @weekly, @monthly and @yearly"
                ));
            }
            other => other,
        };
        let fields: Vec<&str> = plain.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            return Err(format!(
                "expected five fields (minute hour day month weekday), found {}",
                fields.len()
            ));
        };
        let weekday_bits = field(weekdays, 0, 7, &WEEKDAYS, "weekday")?;
        let cron = Self {
            text: text.trim().to_owned(),
            minutes: field(minutes, 0, 59, &[], "minute")?,
            hours: field(hours, 0, 23, &[], "hour")?,
            days: field(days, 1, 31, &[], "day")?,
            months: field(months, 1, 12, &MONTHS, "month")?,
            weekdays: (weekday_bits | (weekday_bits >> 7)) & 0x7f, // 7 is Sunday too
            either: !days.starts_with('*') && !weekdays.starts_with('*'),
        };
        if !cron.exists() {
            return Err(format!("{text:?} never comes"));
        }
        Ok(cron)
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether there is a day that fits, as 30 February is not one. Months are tried with their most days.
    fn exists(&self) -> bool {
        const LONGEST: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        self.either
            || LONGEST.iter().enumerate().any(|(index, last)| {
                self.months & (1 << (index + 1)) != 0
                    && (1..=*last).any(|day| self.days & (1 << day) != 0)
            })
    }

    /// The first fitting time after `after`, in its time zone. A time that the clock skips counts as the moment after
    /// the gap; one that it shows twice counts once.
    #[must_use]
    pub fn next(&self, after: &Zoned) -> Option<Zoned> {
        let start = after.datetime();
        let mut day = start.date();
        let last = day.year().saturating_add(YEARS);
        let mut from = (start.hour(), start.minute() + 1);
        while day.year() <= last {
            if self.fits_day(
                day.month(),
                day.day(),
                day.weekday().to_sunday_zero_offset(),
            ) {
                let mut earliest = from;
                while let Some((hour, minute)) = self.fits_time(earliest) {
                    let at = DateTime::from_parts(day, time(hour, minute, 0, 0));
                    if let Ok(zoned) = at.to_zoned(after.time_zone().clone())
                        && zoned > *after
                    {
                        return Some(zoned);
                    }
                    earliest = (hour, minute + 1);
                }
            }
            from = (0, 0);
            day = day.tomorrow().ok()?;
        }
        None
    }

    fn fits_day(&self, month: i8, day: i8, weekday: i8) -> bool {
        let has = |bits: u64, value: i8| bits & (1 << value) != 0;
        let (by_day, by_weekday) = (has(self.days, day), has(self.weekdays, weekday));
        has(self.months, month)
            && if self.either {
                by_day || by_weekday
            } else {
                by_day && by_weekday
            }
    }

    /// The first fitting hour and minute from `(hour, minute)` on.
    fn fits_time(&self, (hour, minute): (i8, i8)) -> Option<(i8, i8)> {
        (hour..24)
            .filter(|h| self.hours & (1 << h) != 0)
            .find_map(|h| {
                let from = if h == hour { minute } else { 0 };
                let found = (from..60).find(|m| self.minutes & (1 << m) != 0);
                found.map(|m| (h, m))
            })
    }
}

fn field(text: &str, low: u32, high: u32, names: &[&str], what: &str) -> Result<u64, String> {
    let number = |word: &str| -> Result<u32, String> {
        let by_name = names
            .iter()
            .position(|name| name.eq_ignore_ascii_case(word));
        // Months count from one, weekdays from zero: like their lowest number.
        let found = by_name.map(|index| index as u32 + low);
        let value = found.or_else(|| word.parse().ok());
        value
            .filter(|value| (low..=high).contains(value))
            .ok_or_else(|| format!("{word:?} is no {what}; expected {low} to {high}"))
    };
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            None => (part, 1),
            Some((range, step)) => match step.parse::<u32>() {
                Ok(step) if step > 0 => (range, step),
                _ => return Err(format!("{step:?} is no step of a {what}")),
            },
        };
        let (from, to) = match (range, range.split_once('-')) {
            ("*", _) => (low, high),
            (_, Some((from, to))) => (number(from)?, number(to)?),
            (one, None) if part.contains('/') => (number(one)?, high),
            (one, None) => (number(one)?, number(one)?),
        };
        if from > to {
            return Err(format!("{range:?}: a range goes upwards"));
        }
        for value in (from..=to).step_by(step as usize) {
            bits |= 1 << value;
        }
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(cron: &str, after: &str, want: &str) {
        let got = match Cron::parse(cron) {
            Err(err) => err,
            Ok(cron) => cron
                .next(&after.parse::<Zoned>().unwrap())
                .map_or("never".to_owned(), |at| {
                    at.strftime("%a %F %T %:z").to_string()
                }),
        };
        assert_eq!(got, want, "{cron} after {after}");
    }

    #[test]
    fn next_times() {
        let now = "2026-11-25T20:30:15+00:00[UTC]"; // a Wednesday
        check("* * * * *", now, "Wed 2026-11-25 20:31:00 +00:00");
        check("30 20 * * *", now, "Thu 2026-11-26 20:30:00 +00:00");
        check("*/20 * * * *", now, "Wed 2026-11-25 20:40:00 +00:00");
        check("5/20 * * * *", now, "Wed 2026-11-25 20:45:00 +00:00");
        check("0 3 * * mon-fri", now, "Thu 2026-11-26 03:00:00 +00:00");
        check("0 3 * * 7", now, "Sun 2026-11-29 03:00:00 +00:00");
        check("0 0 1 jan *", now, "Fri 2027-01-01 00:00:00 +00:00");
        check("0 0 29 2 *", now, "Tue 2028-02-29 00:00:00 +00:00");
        check("0 0 13 * fri", now, "Fri 2026-11-27 00:00:00 +00:00"); // either
        check("@hourly", now, "Wed 2026-11-25 21:00:00 +00:00");
        check("59 23 31 12 *", now, "Thu 2026-12-31 23:59:00 +00:00");
    }

    #[test]
    fn clocks_that_jump() {
        let spring = "2026-03-29T01:30:00+01:00[Europe/Berlin]";
        check("30 2 * * *", spring, "Sun 2026-03-29 03:30:00 +02:00");
        let autumn = "2026-10-25T02:15:00+02:00[Europe/Berlin]";
        check("30 2 * * *", autumn, "Sun 2026-10-25 02:30:00 +02:00");
        let after = "2026-10-25T02:30:00+02:00[Europe/Berlin]";
        check("30 2 * * *", after, "Mon 2026-10-26 02:30:00 +01:00");
    }

    #[test]
    fn nonsense_is_refused() {
        let now = "2026-11-25T20:30:15+00:00[UTC]";
        check(
            "* * * *",
            now,
            "expected five fields (minute hour day month weekday), found 4",
        );
        check("60 * * * *", now, "\"60\" is no minute; expected 0 to 59");
        check("*/0 * * * *", now, "\"0\" is no step of a minute");
        check("5-1 * * * *", now, "\"5-1\": a range goes upwards");
        check("0 0 30 2 *", now, "\"0 0 30 2 *\" never comes");
        check("* * * foo *", now, "\"foo\" is no month; expected 1 to 12");
        check(
            "@reboot",
            now,
            "\"@reboot\" is not known here; there are @hourly, @daily, @weekly, @monthly and @yearly",
        );
    }
}
