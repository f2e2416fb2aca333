import ControlProtocol
import ControlTestSupport
import CoordinatorCore
import Testing

/// When a run counts as ended that said nothing of it.
struct LeaseTests {
    private static let hour = Duration.seconds(3_600)
    private static let deletion = ChangeRequest.deleteRun(
        DeleteRun(run: "shakespeare", dryRun: true, who: "ada", why: "test"))

    /// - Parameter year: of the wall clock.
    private func ask(
        _ core: inout CoordinatorCore, _ request: ChangeRequest, year: Int, uptime: Duration
    ) -> ControlError.Code? {
        let time = Timestamp(milliseconds: Int64(year) * 31_536_000_000)
        let actions = core.handle(.requested(request, Ticket(0)), at: time, uptime: uptime)
        _ = core.handle(.committed, at: time, uptime: uptime)
        if case .answer(_, .refused(let error))? = actions.last { return error.code }
        return nil
    }

    @Test func silenceCountsByTheClockThatNobodySets() {
        var core = CoordinatorCore()
        #expect(ask(&core, .registerRun(Samples.registerRun()), year: 50, uptime: .zero) == nil)
        #expect(ask(&core, Self.deletion, year: 99, uptime: Self.hour - .seconds(1)) == .conflict)
        #expect(ask(&core, Self.deletion, year: 1, uptime: Self.hour) == nil)
        // Any word of the ranks will do.
        let poll = ChangeRequest.pollPlan(PollPlan(run: "shakespeare", incarnation: 1, revision: 1))
        #expect(ask(&core, poll, year: 3, uptime: Self.hour) == nil)
        #expect(ask(&core, Self.deletion, year: 99, uptime: Self.hour * 2 - .seconds(1)) == .conflict)
        #expect(ask(&core, Self.deletion, year: 99, uptime: Self.hour * 2) == nil)
    }

    @Test func aStartThatIsOverDoesNotSpeakForTheNextOne() {
        var core = CoordinatorCore()
        for name in ["a", "b"] {
            let registration = Samples.registerRun(registration: name)
            #expect(ask(&core, .registerRun(registration), year: 50, uptime: .zero) == nil)
        }
        let poll = ChangeRequest.pollPlan(PollPlan(run: "shakespeare", incarnation: 1, revision: 1))
        #expect(ask(&core, poll, year: 50, uptime: Self.hour) == .staleIncarnation)
        #expect(ask(&core, Self.deletion, year: 50, uptime: Self.hour) == nil)
    }

    /// The coordinator was away for years, by its clock; the job was not.
    @Test func aRestartExpiresNobody() throws {
        var before = CoordinatorCore()
        #expect(ask(&before, .registerRun(Samples.registerRun()), year: 50, uptime: Self.hour * 9) == nil)
        let known = before.state(of: "shakespeare")
        let state = try #require(known)
        var core = CoordinatorCore()
        _ = core.handle(.restored(state), at: .now(), uptime: .zero)
        #expect(ask(&core, Self.deletion, year: 55, uptime: .seconds(1)) == .conflict)
        #expect(ask(&core, Self.deletion, year: 55, uptime: Self.hour) == nil)
    }

    /// The state machine forgets runs that others push out, and after a failed commit all of them.
    @Test func whatIsForgottenWasHeardAllTheSame() throws {
        var limits = Limits()
        limits.residentRuns = 1
        var core = CoordinatorCore(limits: limits)
        let heard = Self.hour * 9
        #expect(ask(&core, .registerRun(Samples.registerRun()), year: 50, uptime: heard) == nil)
        let known = core.state(of: "shakespeare")
        let state = try #require(known)
        for run in ["a", "b", "c", "d"] {
            #expect(ask(&core, .registerRun(Samples.registerRun(run)), year: 50, uptime: heard) == nil)
        }
        _ = core.handle(.commitFailed, at: .now(), uptime: heard)
        let isResident = core.isResident("shakespeare")
        #expect(!isResident)
        _ = core.handle(.restored(state), at: .now(), uptime: heard)
        #expect(ask(&core, Self.deletion, year: 50, uptime: heard + Self.hour - .seconds(1)) == .conflict)
        #expect(ask(&core, Self.deletion, year: 50, uptime: heard + Self.hour) == nil)
    }
}
