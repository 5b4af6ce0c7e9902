"""After a breach: what was touched between two times, the letters that are due, and by when.

GDPR Art. 33: the authority within 72 hours of becoming aware; Art. 34: the people, without undue
delay, where the risk is high. Indonesia, UU 27/2022 Art. 46: both within 3 x 24 hours.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger.aggregates.people import Access, User
from ledger.decisions import Connection

DEADLINE = timedelta(hours=72)
_ACCESS = """
SELECT data ->> 'actor', data ->> 'what', data -> 'subjects', occurred_at FROM events
WHERE stripe_event_id IS NULL AND topic = %(topic)s
    AND occurred_at >= %(start)s AND occurred_at < %(end)s
    AND (%(actor)s::text IS NULL OR data ->> 'actor' = %(actor)s)
ORDER BY position
"""
_ENTRANCES = """
SELECT stream, topic, occurred_at FROM events
WHERE stripe_event_id IS NULL AND topic = ANY (%(topics)s)
    AND occurred_at >= %(start)s AND occurred_at < %(end)s
    AND (%(actor)s::text IS NULL OR stream = 'user:' || %(actor)s)
ORDER BY position
"""
_DECIDED = """
SELECT data ->> 'actor', topic, count(*) FROM events
WHERE stripe_event_id IS NULL AND data ? 'actor' AND data ->> 'actor' IS NOT NULL
    AND topic <> %(topic)s AND occurred_at >= %(start)s AND occurred_at < %(end)s
    AND (%(actor)s::text IS NULL OR data ->> 'actor' = %(actor)s)
GROUP BY 1, 2 ORDER BY 1, 3 DESC
"""
ENTRANCES = (
    User.LoggedIn.TOPIC, User.LogInFailed.TOPIC, User.Locked.TOPIC, User.RecoveryCodeUsed.TOPIC,
)  # fmt: skip


@dataclass(frozen=True)
class Breach:
    """What was touched between two times; `customers` are those whose personal data were told."""

    start: datetime
    end: datetime
    aware_at: datetime
    customers: list[str]
    by_actor: dict[str, int]
    by_request: dict[str, int]
    entrances: list[tuple[str, str, datetime]]
    decided: list[tuple[str, str, int]]

    @property
    def deadline(self) -> datetime:
        """By when the authority is told, and in Indonesia the people, too."""
        return self.aware_at + DEADLINE


def breach(
    connection: Connection,
    start: datetime,
    end: datetime,
    aware_at: datetime,
    actor: str | None = None,
) -> Breach:
    """Return what was touched in [start, end), by anybody or by one actor."""
    bounds = {"start": start, "end": end, "actor": actor, "topic": Access.AccessLogged.TOPIC,
              "topics": list(ENTRANCES)}  # fmt: skip
    rows = connection.execute(_ACCESS.encode(), bounds).fetchall()
    touched = {subject for _, _, subjects, _ in rows for subject in subjects}
    return Breach(
        start,
        end,
        aware_at,
        sorted(touched),
        dict(Counter(who for who, _, _, _ in rows).most_common()),
        dict(Counter(what for _, what, _, _ in rows).most_common()),
        connection.execute(_ENTRANCES.encode(), bounds).fetchall(),
        connection.execute(_DECIDED.encode(), bounds).fetchall(),
    )


def letters(found: Breach, business: str, contact: str) -> dict[str, str]:
    """Return the letters as drafts, by file name; what only people know stands in brackets."""
    told = {
        "business": business,
        "contact": contact,
        "count": len(found.customers),
        "start": f"{found.start:%Y-%m-%d %H:%M} UTC",
        "end": f"{found.end:%Y-%m-%d %H:%M} UTC",
        "aware": f"{found.aware_at:%Y-%m-%d %H:%M} UTC",
        "deadline": f"{found.deadline:%Y-%m-%d %H:%M} UTC",
    }
    return {name: text.format(**told) for name, text in LETTERS.items()}


LETTERS = {
    "authority.en.txt": """\
To the supervisory authority                              [name and address]
Notification of a personal data breach (Art. 33 GDPR)

Controller: {business}. Contact: {contact}. [Data protection officer]
Became aware: {aware}. Due by: {deadline}. [If later: the reasons for the delay]
Period: {start} to {end}.

1. What happened: [in plain words]
2. Whose data: {count} customers of ours, by our own record of every access. The list is kept.
3. Which data: name, e-mail address, telephone number, address and what they wrote to us, as far as
   these were opened. Card numbers are not stored. [correct this to what was touched]
4. What may follow from it: [likely consequences]
5. What we have done and will do: [measures]
6. The people concerned: [told on …; or why not]
""",
    "authority.id.txt": """\
Kepada lembaga pelindungan data pribadi                    [nama dan alamat]
Pemberitahuan kegagalan pelindungan data pribadi (Pasal 46 UU 27/2022)

Pengendali data: {business}. Kontak: {contact}.
Diketahui: {aware}. Batas waktu 3 x 24 jam: {deadline}.
Kurun waktu kejadian: {start} sampai {end}.

1. Kapan dan bagaimana data terungkap: [jelaskan dengan kata sederhana]
2. Pemilik data: {count} pelanggan kami, menurut catatan akses kami sendiri. Daftarnya disimpan.
3. Data yang terungkap: nama, alamat email, nomor telepon, alamat, dan tulisan mereka kepada kami,
   sejauh dibuka. Nomor kartu tidak disimpan. [sesuaikan]
4. Upaya penanganan dan pemulihan: [tindakan]
5. Pemberitahuan kepada pemilik data: [tanggal]
""",
    "customers.en.txt": """\
Subject: About your data at {business}

Hello {{name}},

between {start} and {end} somebody could see data of yours that we keep: [name, e-mail address,
telephone number, address]. Your card number was not among it: we do not store it.

What happened: [in plain words]
What we have done: [measures]
What you can do: be careful with mails and calls that mention your subscription; we never ask for a
password or a card number by mail. [more]

We are sorry. Questions: {contact}.
{business}
""",
    "customers.id.txt": """\
Subjek: Tentang datamu di {business}

Halo {{name}},

antara {start} dan {end} ada pihak yang bisa melihat datamu yang kami simpan: [nama, alamat
email, nomor telepon, alamat]. Nomor kartumu tidak termasuk: kami tidak menyimpannya.

Apa yang terjadi: [jelaskan dengan kata sederhana]
Yang sudah kami lakukan: [tindakan]
Yang bisa kamu lakukan: hati-hati dengan email dan telepon yang menyebut langgananmu; kami tidak
pernah meminta kata sandi atau nomor kartu lewat email. [lainnya]

Kami minta maaf. Pertanyaan: {contact}.
{business}
""",
}
