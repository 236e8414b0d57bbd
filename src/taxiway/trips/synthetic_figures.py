"""What synthetic trips are made to look like: figures measured on real ones, rounded.

Source: the TLC's trip records. ``YELLOW`` was measured on 180,000 yellow trips, a random sample of
10,000 of each month from 2018-01 to 2019-06; ``GREEN`` on all 133,020 green trips of 2023-01 and
2023-02. Trips that break no rule were used for shapes; the share of each kind of dirt is the one
found in the files. `tip_by_miles` is steeper than measured, because it stands in for the zones far
out that long trips go to: here a zone does not depend on the distance, airports apart. Tables are
kept as text so that a row of them stays a line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Dirt:
    """Share of the rows with each fault that real files have, 0 to 1.

    Parameters
    ----------
    zero_fare, zero_miles : float
        Nothing charged; no distance recorded. `stood_still` of the latter also ended where and
        when they began.
    refund : float
        Rows that repeat the one before with negative amounts.
    not_after, day_long : float
        Drop-off at or before pick-up; trips of 20 to 24 hours, a meter left running.
    outside : float
        Pick-ups outside the file's month, some of them years.
    odd_rate, absurd_miles : float
        ``RatecodeID`` 99; distances of tens of thousands of miles.
    """

    zero_fare: float
    refund: float
    not_after: float
    day_long: float
    outside: float
    zero_miles: float
    stood_still: float
    odd_rate: float
    absurd_miles: float


@dataclass(frozen=True)
class Zone:
    """A zone's weight as origin and destination, and its effect on the log odds of a card tip (x 100)."""

    origin: int
    destination: int
    tip_origin: int
    tip_destination: int


@dataclass(frozen=True)
class Figures:
    """The marginals and dependences of one colour's trips.

    Parameters
    ----------
    hours : tuple of 7 tuples of 24
        Weight of each hour of pick-up, Monday first; 100 is the mean.
    kinds : tuple of float
        Share of each of `KINDS`.
    miles : mapping of str to tuple
        Distance at each of `LEVELS`, by kind.
    seconds, card, toll, toll_at_airports, tip_by_miles : tuple of float
        At each of `KNOTS` (miles): median duration; share paid by card; share with a toll;
        log odds of a card tip (x 100).
    not_card : tuple of float
        Of the other trips, shares of cash, no charge and dispute, refunds apart.
    pace : two tuples of 24
        Duration in percent of that median by hour, on weekdays and at the weekend.
    spread : float
        Standard deviation of the logarithm of what is left.
    airport_ends, jfk_ends : str
        Weights of ``origin>destination``; ``*`` is any zone.
    fares : mapping of str to tuple
        Fare in US dollars at each of `FARE_LEVELS`, for kinds that no meter decides.
    cabs : str
        Weights of ``vendor/passengers/flag``.
    zones, elsewhere
        Zones that matter, and the effect of all others on the log odds of a card tip (x 100).
    tip_at_all, tip_by_hour, tip_by_vendor, tip_negotiated
        Log odds of a card tip (x 100): base, and what is added.
    tip_share, whole_tip_share : tuple of float
        Tip per mille of the bill at each of `TIP_LEVELS` and, rounded to whole dollars in `whole_tips` of
        the tips, at each of `LEVELS`.
    dirt : Dirt
    """

    hours: tuple[tuple[float, ...], ...]
    kinds: tuple[float, ...]
    miles: Mapping[str, tuple[float, ...]]
    seconds: tuple[float, ...]
    pace: tuple[tuple[float, ...], ...]
    spread: float
    card: tuple[float, ...]
    not_card: tuple[float, float, float]
    toll: tuple[float, ...]
    toll_at_airports: tuple[float, ...]
    airport_ends: str
    jfk_ends: str
    fares: Mapping[str, tuple[float, ...]]
    cabs: str
    zones: Mapping[int, Zone]
    elsewhere: tuple[int, int]
    tip_at_all: int
    tip_by_hour: tuple[float, ...]
    tip_by_miles: tuple[float, ...]
    tip_by_vendor: Mapping[int, int]
    tip_negotiated: int
    tip_share: tuple[float, ...]
    whole_tip_share: tuple[float, ...]
    whole_tips: float
    dirt: Dirt


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(word) for word in text.split())


def _grid(text: str) -> tuple[tuple[float, ...], ...]:
    return tuple(_numbers(line) for line in text.strip().splitlines())


def _zones(text: str) -> dict[int, Zone]:
    rows = [[int(number) for number in word.split(":")] for word in text.split()]
    return {row[0]: Zone(*row[1:]) for row in rows}


KINDS = ("near", "city", "airport", "jfk", "newark", "far", "negotiated", "unrecorded")
"""Within a zone; between zones; from or to an airport by meter; the flat rate between JFK and
Manhattan; Newark; Nassau or Westchester; a fare agreed beforehand; the trips whose payment,
passengers and rate were not recorded."""

RATE_CODES = (1, 1, 1, 2, 3, 4, 5, 0)
"""``RatecodeID`` of each kind; 0 stands for null."""

LEVELS = _numbers("0 .005 .02 .05 .1 .2 .3 .4 .5 .6 .7 .8 .9 .95 .98 .995 1")
FARE_LEVELS = _numbers("0 .1 .25 .5 .75 .9 1")
TIP_LEVELS = _numbers("0 .005 .01 .02 .05 .1 .15 .2 .25 .3 .35 .4 .5 .6 .7 .75 .8 .85 .9 .95 .98 .99 .995 1")
KNOTS = _numbers(".1 .3 .5 .75 1 1.5 2 3 4 6 8 10 15 20 30")
"""Where tables begin and end: shares for the quantiles, miles for the knots."""

LAST_ZONE = 265

# Zones where at least 96 % of the yellow trips that ended there paid the congestion surcharge.
CONGESTION_ZONES = _numbers(
    """
    4 12 13 45 48 50 68 79 87 88 90 100 107 113 114 125 137 140 141 142 143 144 148 158 161 162 163 164
    170 186 211 224 229 230 231 232 233 234 236 237 239 246 249 261 262 263
    """
)
# Of these, the zones north of 60th Street, which the charge of 2025 leaves out.
UPTOWN_ZONES = (43, 140, 141, 142, 143, 236, 237, 239, 262, 263)

YELLOW = Figures(
    hours=_grid(
        """
        38 24 14 12 14 25 63 96 119 117 108 113 114 117 130 129 117 140 161 142 128 131 105 73
        43 23 14 11 12 26 61 109 129 122 115 119 125 121 136 133 120 143 157 161 148 150 127 89
        53 28 17 13 12 25 65 108 137 127 124 122 127 123 139 132 126 139 169 156 157 148 146 107
        61 35 21 15 14 26 63 121 140 125 125 125 130 121 141 137 124 143 165 161 151 159 142 124
        80 47 32 21 19 26 63 108 130 117 119 121 129 129 141 132 125 143 163 171 141 142 141 133
        118 94 76 54 37 18 30 41 59 92 107 119 135 133 127 136 130 140 148 143 121 118 133 129
        123 109 74 54 41 17 24 34 52 77 94 118 122 125 124 119 118 117 125 109 96 89 79 63
        """
    ),
    kinds=_numbers("0.042 0.8817 0.048 0.0236 0.0021 0.0008 0.0048 0"),
    miles={
        "near": _numbers("0.06 0.1 0.15 0.22 0.3 0.4 0.49 0.55 0.62 0.7 0.84 1.09 1.9 3.1 6.03 10.95 16.42"),
        "city": _numbers("0.06 0.3 0.41 0.56 0.7 0.9 1.1 1.32 1.6 1.9 2.35 3.03 4.48 6.1 8.4 12.67 19"),
        "airport": _numbers("0.4 1.63 3.1 4.88 6.8 8.27 8.94 9.53 10.1 10.7 11.41 12.53 15.3 17.6 20.75 25.71 38.56"),
        "jfk": _numbers("0.06 0.28 2.4 12.8 15.8 16.8 17.3 17.66 18 18.4 18.9 19.7 20.91 21.8 23.15 28.45 31.86"),
        "newark": _numbers(
            "0.06 0.16 0.79 12.46 13.41 15.1 16.64 17.3 17.6 17.99 18.56 19.92 21.49 27.15 33.49 36.22 36.68"
        ),
        "far": _numbers("0.3 0.37 0.9 6.4 7.1 8.76 12.7 14.83 16.97 19.55 22.4 26.2 33.5 38.37 42.91 47.49 54.71"),
        "negotiated": _numbers(
            "0.08 0.1 0.2 0.6 3.6 5.33 7.06 9.11 11.12 14.02 16.5 18.68 22.99 34.33 42.79 52.75 57.95"
        ),
    },
    seconds=_numbers("84 156 228 331 429 606 748 1000 1171 1382 1565 1807 2404 2722 2924"),
    pace=_grid(
        """
        76 71 71 67 65 65 74 93 115 124 123 126 124 119 121 123 118 116 112 103 94 91 89 84
        90 84 79 75 71 69 65 67 71 77 84 92 96 99 103 104 103 106 104 102 95 91 90 87
        """
    ),
    spread=0.326,
    card=_numbers("0.414 0.532 0.633 0.67 0.694 0.714 0.735 0.731 0.734 0.729 0.762 0.785 0.758 0.741 0.699"),
    not_card=(0.9827, 0.0136, 0.0037),
    toll=_numbers("0 0 0.0002 0.0001 0.0001 0.0001 0.0007 0.0039 0.0108 0.0267 0.2971 0.5678 0.3775 0.3611 0.5"),
    toll_at_airports=_numbers("0 0 0 0 0 0 0 0.0069 0.0092 0.142 0.6829 0.7005 0.3702 0.2759 0.4688"),
    airport_ends="138>* 530 132>* 230 *>138 217 *>132 23",
    jfk_ends="132>* 68 *>132 32",
    fares={
        "far": _numbers("20 26 38 63.5 90 136 180"),
        "negotiated": _numbers("0.01 9 21.8 50 70 110 142"),
    },
    cabs=(
        "1/0/N:1357 1/0/Y:21 1/1/N:30792 1/1/Y:361 1/2/N:5417 1/2/Y:79 1/3/N:1300 1/3/Y:21 1/4/N:720 "
        "1/4/Y:10 1/5/N:30 1/6/N:17 2/0/N:491 2/1/N:38656 2/1/Y:3 2/2/N:9149 2/3/N:2912 2/4/N:1205 "
        "2/5/N:4299 2/6/N:2628 4/0/N:6 4/1/N:511 4/2/N:9 4/3/N:3 "
    ),
    zones=_zones(
        """
        1:0:20:-57:35 4:18:48:-80:-45 7:16:40:-56:-43 12:4:6:-46:-55 13:84:88:0:29 14:0:8:-81:-48
        17:0:13:-109:-73 24:29:36:-48:-47 25:9:18:-59:0 33:11:30:-40:0 36:0:7:-65:-33 37:2:11:-97:-61
        40:6:11:-30:-20 41:37:66:-102:-74 42:17:45:-193:-125 43:149:124:0:16 45:21:26:-71:-41 48:315:261:-12:-18
        49:3:17:-125:-55 50:88:115:-20:0 52:5:8:-30:0 61:2:16:-112:-85 65:13:20:-39:-36 66:4:15:-64:-15
        68:232:215:-18:-15 74:41:79:-136:-74 75:69:121:-100:-74 79:266:222:0:0 80:4:15:-63:0 82:3:9:-52:-98
        87:73:80:-16:0 88:40:39:-14:-28 89:0:9:-125:-67 90:173:143:0:19 95:0:11:-70:-80 97:8:15:-94:-38
        100:201:155:-29:-21 107:232:202:0:0 112:4:21:-66:0 113:154:133:0:0 114:132:102:-26:0 116:12:26:-85:-98
        125:60:52:0:13 127:0:8:-64:-52 129:4:17:-81:-69 132:120:15:83:52 137:123:139:-20:-21 138:274:112:115:125
        140:176:174:-18:0 141:232:246:0:32 142:299:264:0:12 143:119:133:0:0 144:97:85:12:-12 145:9:31:-42:-35
        146:10:14:-55:-55 148:130:101:0:-30 151:88:82:-32:0 152:9:16:-133:-80 158:95:102:13:-13 161:383:372:13:18
        162:352:298:0:12 163:269:229:0:0 164:230:203:0:0 166:55:75:-45:-14 168:0:8:-96:-91 170:311:313:0:0
        179:5:13:-80:-55 181:10:31:-91:0 186:342:257:-20:-25 188:0:7:-92:-112 189:0:9:-59:-26 193:7:8:-105:-118
        209:20:26:-60:-52 211:74:81:0:0 223:4:17:-97:-48 224:20:43:-54:-22 225:0:9:-142:-105 226:15:22:-58:-89
        229:194:183:19:0 230:337:293:0:0 231:171:159:17:30 232:16:43:-54:-69 233:130:141:0:0 234:300:261:0:0
        236:386:389:0:46 237:406:370:0:43 238:194:211:-14:0 239:259:245:0:0 243:0:17:-56:0 244:10:33:-94:-14
        246:147:182:0:-20 249:198:161:0:12 255:9:25:-12:0 256:7:24:-47:-16 260:5:11:-83:-73 261:57:46:-15:0
        262:123:129:12:39 263:190:189:-17:0 264:136:123:0:0 265:6:26:-69:30
        """
    ),
    elsewhere=(-74, -65),
    tip_at_all=325,
    tip_by_hour=_numbers("2 -9 -17 -19 -48 -32 -21 -6 6 2 -12 -24 -13 -7 -9 -20 -15 -7 14 20 23 27 24 9"),
    tip_by_miles=_numbers("-150 -60 -10 9 16 20 22 18 -6 -50 -90 -120 -130 -100 -110"),
    tip_by_vendor={1: 31, 2: -22, 4: 83},
    tip_negotiated=-236,
    tip_share=_numbers("10 49 67 94 109 150 183 199 199 199 200 200 200 200 200 200 200 250 250 296 300 300 300 600"),
    whole_tip_share=_numbers("15 37 51 63 75 93 104 119 131 147 160 185 238 306 424 688 1500"),
    whole_tips=0.177,
    dirt=Dirt(
        zero_fare=0.0003,
        refund=0.0009,
        not_after=0.0008,
        day_long=0.0021,
        outside=4e-05,
        zero_miles=0.0045,
        stood_still=0.7,
        odd_rate=4e-05,
        absurd_miles=0.0,
    ),
)

GREEN = Figures(
    hours=_grid(
        """
        31 21 15 16 16 15 37 103 121 135 135 139 136 142 150 181 188 178 181 138 102 81 60 40
        27 15 12 9 8 15 44 129 159 161 147 146 144 152 164 184 204 206 207 159 126 86 68 45
        27 19 13 10 8 12 44 114 144 149 146 134 133 142 161 184 205 214 200 163 118 85 64 44
        28 17 13 9 10 14 44 118 148 152 143 141 138 147 159 185 206 208 215 162 128 91 71 53
        40 25 14 11 9 12 40 113 127 141 130 130 124 136 174 194 206 212 208 171 132 102 91 74
        62 50 39 34 26 15 16 33 55 72 101 119 122 140 134 152 153 141 143 131 114 95 89 83
        73 64 56 47 37 19 17 28 35 59 85 105 117 128 137 141 144 132 138 111 95 75 62 48
        """
    ),
    kinds=_numbers("0.098 0.783 0.0218 0.0024 0.0005 0.0008 0.0252 0.0687"),
    miles={
        "near": _numbers("0.06 0.08 0.17 0.29 0.4 0.54 0.65 0.75 0.85 0.95 1.07 1.26 1.7 2.61 5.53 10.53 15.79"),
        "city": _numbers("0.06 0.39 0.59 0.76 0.95 1.23 1.44 1.7 2 2.37 2.87 3.66 5.48 7.25 9.6 14.38 21.57"),
        "airport": _numbers("0.75 1.85 2.5 2.62 3.59 3.74 3.83 4 5.06 6.57 6.88 7.87 10.68 13.85 17.99 21.68 32.52"),
        "jfk": _numbers(
            "0.12 0.14 0.38 1.47 15.15 16.85 17.19 17.58 18.06 18.37 18.64 18.83 19.32 19.63 20.72 24.23 24.94"
        ),
        "newark": _numbers(
            "0.1 0.1 0.1 1.36 3.24 10.85 14.96 16.45 20.18 22.72 26.4 26.9 27.95 29.26 33.25 36.79 37.97"
        ),
        "far": _numbers("0.5 0.75 1.3 5.43 8.27 9.05 10.45 12.14 14.3 15.95 18.18 23.12 28.52 35.23 46.13 47.72 48.19"),
        "negotiated": _numbers(
            "0.06 0.07 0.13 0.29 0.57 1.06 1.65 2.34 3.13 4.39 5.79 7.63 10.61 14.38 17.57 26.89 40.34"
        ),
        "unrecorded": _numbers(
            "0.06 0.37 0.7 0.92 1.21 1.76 2.38 3.04 3.76 4.62 5.93 7.52 10.21 12.58 17.38 21.41 32.12"
        ),
    },
    seconds=_numbers("68 151 219 306 393 550 704 966 1102 1298 1553 1759 2366 2748 3062"),
    pace=_grid(
        """
        82 82 84 87 85 79 80 101 112 106 103 105 103 106 113 116 112 110 104 95 90 87 86 84
        89 86 87 87 86 82 73 72 75 81 87 91 94 97 100 101 101 101 100 96 92 88 87 86
        """
    ),
    spread=0.278,
    card=_numbers("0.198 0.387 0.523 0.569 0.607 0.652 0.664 0.685 0.682 0.65 0.667 0.618 0.57 0.684 0.55"),
    not_card=(0.989, 0.0104, 0.0006),
    toll=_numbers("0 0 0.0002 0.0001 0.0001 0.0003 0.0005 0.0018 0.0196 0.0792 0.1369 0.1576 0.2705 0.3439 0.375"),
    toll_at_airports=_numbers("0 0 0 0 0 0 0 0.005 0 0.51 0.6614 0.2959 0.0991 0.4098 0.4167"),
    airport_ends="138>* 12 132>* 3 *>138 739 *>132 246",
    jfk_ends="132>* 4 *>132 96",
    fares={
        "far": _numbers("25 37 50 67 100 171 200"),
        "negotiated": _numbers("7 9 12 20 30 55 70"),
    },
    cabs=(
        "1/0/N:508 1/1/N:10881 1/1/Y:354 1/2/N:1181 1/2/Y:19 1/3/N:257 1/3/Y:12 1/4/N:43 1/5/N:12 "
        "1/6/N:6 2/0/N:22 2/1/N:68158 2/2/N:6143 2/3/N:1125 2/4/N:441 2/5/N:2492 2/6/N:1458 2/7/N:5 "
        "2/8/N:3 2/9/N:2 "
    ),
    zones=_zones(
        """
        4:0:10:0:0 7:264:160:-12:0 10:4:25:-30:-91 14:10:16:0:-17 16:0:7:-15:-14 17:19:47:-17:-22 18:5:9:-23:-48
        20:4:7:-38:-15 21:6:4:0:-31 24:70:98:26:0 25:72:35:38:0 26:3:7:-19:-15 28:5:61:-37:0 29:6:7:-26:-29
        33:104:45:64:28 35:4:8:-19:-38 36:20:13:27:0 37:13:25:-39:-13 39:2:5:-26:-26 40:9:24:0:24
        41:606:387:-51:-59 42:276:349:-91:-107 43:409:179:56:54 45:0:9:0:-15 47:6:10:-38:-87 48:0:62:0:0
        49:22:86:0:35 50:0:22:0:-43 51:4:4:0:-31 52:29:16:32:21 53:2:16:-18:-59 54:0:9:-24:0 55:28:22:-51:-72
        56:6:60:0:-89 61:37:75:-40:-32 62:6:17:-24:-53 65:229:32:12:0 66:97:25:21:-14 68:0:37:0:0
        69:14:29:-52:-71 70:7:36:-31:-85 71:5:9:0:-40 72:5:9:-19:-39 73:0:9:-26:-23 74:1879:496:0:-72
        75:1342:501:0:-31 76:9:11:-45:-94 78:4:8:-42:-36 79:0:29:0:23 80:26:22:12:-13 82:422:143:-47:-33
        83:69:54:-25:-44 85:4:7:-34:-35 87:0:12:0:0 88:0:7:0:-27 89:9:26:-21:0 90:0:17:-28:-20 91:5:6:-22:-55
        92:94:44:-65:-14 93:2:7:-15:-17 94:3:4:-21:-30 95:555:230:0:0 97:315:80:0:-36 98:0:7:0:0 100:0:18:0:18
        102:3:33:-16:-21 106:5:16:-17:0 107:0:27:0:20 112:31:30:27:29 113:0:14:0:0 114:0:13:0:21
        116:109:145:-33:-51 119:4:15:-49:-52 121:3:49:-18:-68 122:4:6:0:-28 123:4:9:-20:-64 124:2:5:0:-20
        127:16:27:0:-25 129:185:187:-53:-31 130:197:57:-75:-60 131:2:12:-24:0 132:2:69:-12:0 134:131:72:-40:-29
        135:4:58:-17:-69 136:5:9:-31:-32 137:0:31:0:0 138:3:197:-28:19 140:0:107:0:46 141:0:115:0:34
        142:0:122:0:40 143:0:64:0:55 144:0:10:0:0 145:25:50:0:0 146:21:28:-18:0 148:0:16:0:0 150:7:9:-23:-12
        151:0:213:-20:16 152:69:114:-38:-56 157:11:40:0:-25 158:0:9:0:0 159:17:29:-76:-124 160:0:42:-18:-17
        161:0:67:-27:47 162:0:52:0:42 163:0:43:0:38 164:0:26:0:0 165:3:5:0:0 166:604:337:45:0 167:7:15:-16:-121
        168:15:46:-84:-116 169:8:13:-35:-60 170:0:43:0:0 171:3:13:-20:-56 173:11:43:-39:-55 174:5:7:-25:-30
        177:4:10:-26:0 179:43:68:0:-14 181:45:84:0:59 182:3:5:-24:-14 185:4:5:0:-15 186:0:32:0:-20
        188:14:33:-20:-51 189:8:38:0:28 190:3:6:0:-15 191:4:12:-20:0 192:0:8:-18:-39 193:58:58:-15:-32
        195:5:16:-19:-51 196:82:74:-59:-19 197:7:53:-21:-38 198:5:18:-22:-22 202:0:8:-17:0 205:2:19:-24:-72
        207:4:5:0:-35 210:44:42:-46:-44 211:0:8:0:-22 212:7:4:-58:-39 213:4:11:-32:-78 215:5:22:-41:-55
        216:10:53:-105:-72 217:3:8:-13:-19 218:0:10:0:-38 220:6:12:-45:0 223:69:102:0:0 225:13:35:-17:-31
        226:49:80:-18:0 227:4:10:0:21 228:6:16:-16:16 229:0:41:0:40 230:0:39:0:0 231:0:23:0:-16 232:0:14:0:-30
        233:0:29:0:0 234:0:27:0:17 235:4:13:-19:-83 236:62:397:49:78 237:0:154:0:66 238:0:344:0:42 239:0:213:0:82
        241:6:8:-27:-60 242:5:5:-34:-42 243:30:68:0:17 244:270:134:14:-26 246:0:24:0:0 247:17:27:-61:-81
        249:0:15:0:0 250:3:4:-25:-52 252:0:7:-20:-35 254:4:6:-20:-30 255:43:29:17:19 256:18:25:0:0 257:3:8:-14:0
        258:4:22:0:0 260:208:81:0:0 262:0:138:-18:83 263:11:231:0:14 264:20:61:-25:0 265:10:34:-16:-36
        """
    ),
    elsewhere=(-22, -18),
    tip_at_all=250,
    tip_by_hour=_numbers("-4 3 20 -18 -13 -33 -46 -32 -21 13 0 -1 8 11 -4 -14 -9 2 13 17 11 11 7 -11"),
    tip_by_miles=_numbers("-110 -100 -60 -35 0 17 22 22 12 0 -10 -15 -45 -50 -70"),
    tip_by_vendor={1: -14, 2: 2},
    tip_negotiated=-107,
    tip_share=_numbers("10 1 4 41 100 150 180 190 200 200 200 200 200 200 200 200 249 250 250 300 300 300 300 600"),
    whole_tip_share=_numbers("11 25 36 47 58 74 89 101 118 137 160 191 250 336 489 848 1500"),
    whole_tips=0.205,
    dirt=Dirt(
        zero_fare=0.0013,
        refund=0.0027,
        not_after=0.0011,
        day_long=0.0025,
        outside=0.00022,
        zero_miles=0.037,
        stood_still=0.2,
        odd_rate=0.00011,
        absurd_miles=4e-05,
    ),
)

FIGURES: Mapping[str, Figures] = {"yellow": YELLOW, "green": GREEN}
