# sqlfuzz/matrix.py: every call with every value, in every way.
# SPDX-License-Identifier: PostgreSQL

from . import values
from .part import LOOK, Part
from .ways import WAYS

class Matrix(Part):
    """One callable after the other."""

    def __init__(self, world):
        super().__init__(world, "matrix")
        self.last_failure = None
        server = self.ground.conn.info.server_version
        self.parallel = ("force_parallel_mode" if server < 160000
                         else "debug_parallel_query")

    def run(self, most=None):
        """Every callable, a test each, with every value, in so many ways."""
        for call in self.catalog.callables:
            self.report.begin(f"{call.kind} {call.name}")
            self.try_all(call, most)
            self.report.end(least=3)

    def run_briefly(self, where, most):
        """All of them as one test, and only so many values."""
        self.report.begin(where)
        for call in self.catalog.callables:
            self.try_all(call, most, most)
        self.report.end(least=len(self.catalog.callables))

    def try_all(self, call, most, most_cases=None):
        """Right arguments, then one hostile value after the other; the seed
        chooses what is tried of both."""
        rng = values.seeded(self.world.seed, call.kind, call.name,
                            len(call.params))
        self.open()
        if call.kind in ("view", "table"):  # no scalars
            self.session.allowed.add("42601")
        cases = list(self.cases(call, rng))
        if most_cases and len(cases) > most_cases:
            cases = rng.sample(cases, most_cases)
        ways = [w for w in WAYS if w.fits(call)]
        rng.shuffle(ways)
        most = 3 if call.kind == "table" and most else most
        for way in ways[:most]:
            self.case(call, way, {}, rng)       # with arguments that are right
        self.try_cases(call, cases, ways, rng, most)
        self.close()

    def try_cases(self, call, cases, ways, rng, most):
        """All of them; in a short run most in the simplest way."""
        if most:
            ways = ways[:most] + WAYS[:1] * (2 * most)
            rng.shuffle(ways)
        for number, (place, value) in enumerate(cases):
            way = ways[number % len(ways)]
            self.case(call, way, {place: value}, rng)

    def cases(self, call, rng):
        """(place, hostile value), None for null."""
        for place, param in enumerate(call.params):
            yield place, None
            for value in values.hostile(param, rng)[1:]:
                yield place, value

    def arguments(self, call, given, rng):
        """What is given, and ordinary values for the rest."""
        self.ground.turn()
        return [given[i] if given.get(i) else
                values.null(p.type) if i in given else
                values.ordinary(p, self.ground, rng)
                for i, p in enumerate(call.params)]

    def run_random(self, where, count):
        """Any callable, several hostile arguments, any way."""
        self.report.begin(where)
        self.open()
        self.session.allowed.add("42601")   # of views in a scalar's place
        for _ in range(count):
            self.random_call(self.rng)
        self.close()
        self.report.end()

    def random_call(self, rng):
        call = rng.choice(self.catalog.callables)
        given = {i: rng.choice(values.hostile(p, rng))
                 for i, p in enumerate(call.params) if rng.random() < 0.3}
        way = rng.choice([w for w in WAYS if w.fits(call)])
        self.case(call, way, given, rng)

    def case(self, call, way, given, rng):
        args = self.arguments(call, given, rng)
        if way.keeps is not True and any(str(values.MIB) in a for a in args):
            way = WAYS[0]       # a megabyte is not for keeps
        statements = list(way.render(call, args, self.parallel, rng))
        waits = way.waits or "timeout" in [p.name for p in call.params] or \
            call.name == "make_partitions"
        failed = False
        for statement in statements:
            if way.cancel and statement == call.statement(args):
                timer = self.session.cancel_after(rng.random() * way.cancel)
            outcome = self.session.run(statement, waits)
            failed |= self.failed(outcome, statement)
            if way.name.startswith("as poor") and not call.public and \
                    statement == call.statement(args) and not outcome.failed:
                self.report.find("done without the right to", statement)
        if way.cancel:
            timer.join()
            self.session.raw("select pg_catalog.pg_sleep(0.003)")
        self.report.note(outcome if not failed else self.last_failure)
        self.session.finish()
        self.recent.append(f"{way.name}: {call.statement(args)}")
        self.settle(way, failed)

    def failed(self, outcome, statement):
        """Did it fail, also where PL/pgSQL has caught the error?"""
        if outcome.failed:
            self.last_failure = outcome
            return True
        if statement.startswith("select fz.caught") and outcome.rows and \
                outcome.rows[0][0] is not None:
            state, _, message = outcome.rows[0][0].decode(
                "utf-8", "replace").partition(" ")
            outcome.state, outcome.message = state, message
            self.last_failure = self.session.judge(outcome, statement, False)
            return True
        return False

    def settle(self, way, failed):
        """Look whether nothing was done where nothing may have been."""
        if way.keeps is True:
            if len(self.recent) >= LOOK:
                self.look()
        elif way.keeps is False and failed:
            self.look()
        else:
            self.recent = []
            self.ground.took_effect()
