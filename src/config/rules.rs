//! Rules about paths in a section about the account, which may be hundreds: each line is read once, into what it says.

use super::line::Place;
use crate::policy::{Operations, PathRule, PathRules, Written};

/// Reads the `[[match.path]]` that begin at a place, as far as the section goes, and counts their lines; none if there are
/// none, or if one is not plain or not right.
pub(super) fn read(place: &mut Place<'_>, lines: &mut usize) -> Option<PathRules> {
    let (mut here, mut count, mut rules) = (*place, *lines, Vec::new());
    while let Some(next) = here.after_blanks().after("[[match.path]]") {
        here = next.past()?;
        count = count.saturating_add(1);
        rule(&mut here, &mut count, &mut rules)?;
    }
    (*place, *lines) = (here, count);
    Some(rules).filter(|rules| !rules.is_empty()).map(PathRules::from)
}

/// Reads what follows the head, up to the next one of whatever it is.
fn rule(place: &mut Place<'_>, lines: &mut usize, rules: &mut Vec<PathRule>) -> Option<()> {
    let (mut pattern, mut allow, mut deny, mut hide) = (None, None, None, None);
    loop {
        let line = place.after_blanks();
        let end = match line.peek() {
            None | Some(b'[') => break,
            Some(b'\n' | b'#') => line,
            Some(b'p') => say(&mut pattern, written(line.value_of("pattern")?)?)?,
            Some(b'a') => say(&mut allow, operations(line.value_of("allow")?)?)?,
            Some(b'd') => say(&mut deny, operations(line.value_of("deny")?)?)?,
            Some(_) => say(&mut hide, line.value_of("hide")?.flag()?)?,
        };
        *place = end.past()?;
        *lines = lines.saturating_add(1);
    }
    let (allow, deny) = (allow.unwrap_or_default(), deny.unwrap_or_default());
    rules.push(PathRule { pattern: pattern?.into(), allow, deny, hide: hide.unwrap_or_default() });
    Some(())
}

/// Takes what a line says of a key, unless an earlier one has said it; returns where the value ends.
fn say<'t, T>(said: &mut Option<T>, (value, end): (T, Place<'t>)) -> Option<Place<'t>> {
    said.replace(value).is_none().then_some(end)
}

fn written(value: Place<'_>) -> Option<(Written<'_>, Place<'_>)> {
    // Nearly all are plain, and looked at once.
    value.quoted_as(Written::first).or_else(|| {
        let (text, end) = value.quoted()?;
        Some((Written::read(text).ok()?, end))
    })
}

/// Reads a list of operations.
#[inline(never)] // For rules of others as well; and the loop has the registers for itself.
pub(super) fn operations(value: Place<'_>) -> Option<(Operations, Place<'_>)> {
    let mut all = Operations::default();
    let end = value.list(|one| {
        let ((), end) = one.quoted_as(|text| all.take(text).map(|rest| ((), rest)))?;
        Some(end)
    })?;
    Some((all, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_up_to_what_is_none() {
        let whole = "[[match.path]]\npattern = 'in/**'\nallow = ['upload']\n\n# more\n  [[match.path]] # two\nhide = true\n\
                     deny = [\"all\", 'mkdir']\npattern = \"x\"\n";
        for (after, lines) in [("", 9), ("[[match]]\n", 9), ("[default]\n", 9), ("\n [[match.paths]]\n", 10)]
        {
            let text = format!("{whole}{after}");
            let (mut place, mut count) = (Place::first(text.as_bytes()), 0);
            let rules = read(&mut place, &mut count).unwrap();
            let operations = |words: &[&str]| {
                let mut all = Operations::default();
                words.iter().for_each(|word| assert_eq!(all.take(word.as_bytes()).unwrap(), b""));
                all
            };
            let one = PathRule {
                pattern: "in/**".parse().unwrap(),
                allow: operations(&["upload"]),
                deny: Operations::default(),
                hide: false,
            };
            let other = PathRule {
                pattern: "x".parse().unwrap(),
                allow: Operations::default(),
                deny: operations(&["all"]),
                hide: true,
            };
            assert_eq!((rules, count), (vec![one, other].into(), lines), "{after:?}");
            assert!(place.is_last() || place.after_blanks().after(after.trim_start()).is_some(), "{after:?}");
        }
    }

    #[test]
    fn of_rules_that_are_not_plain_or_not_right_none_is_read() {
        for text in [
            "",
            "pattern = 'x'\n",
            "[[match]]\n",
            "[[match.path]]\n",
            "[[match.path]]\nallow = ['all']\n",
            "[[match.path]]\npattern = 'x'\n[[match.path]]\n",
            "[[match.path]]\npattern = 'x'\npattern = 'y'\n",
            "[[match.path]]\npattern = 'x//y'\n",
            "[[match.path]]\npattern = 'tr\u{e4}ger'\n",
            "[[match.path]]\npattern = 'x'\nallow = ['some']\n",
            "[[match.path]]\npattern = 'x'\nallow = 'all'\n",
            "[[match.path]]\npattern = 'x'\nhide = true\nhide = false\n",
            "[[match.path]]\npattern = 'x'\nhidden = true\n",
            "[[match.path]]\npattern = 'x'\n'hide' = true\n",
            "[[match.path]]\npattern = 'x'\n[[match.path]] x\n",
        ] {
            let (mut place, mut count) = (Place::first(text.as_bytes()), 7);
            assert!(read(&mut place, &mut count).is_none(), "{text}");
            assert!(count == 7 && (text.is_empty() || place.after(text).is_some()), "{text}");
        }
    }
}
