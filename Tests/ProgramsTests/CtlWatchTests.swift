import ControlProtocol
import Foundation
import Synchronization
import Testing

/// `moe-ctl watch`, and `--watch`.
@Suite(.serialized) struct CtlWatchTests {
    /// A coordinator that can change its mind.
    private final class Stage: Sendable {
        let samples: CtlSamples
        let shown: Mutex<RunShown>
        let isAway = Mutex(false)
        let isDeleted = Mutex(false)
        private let addedEvents = Mutex([NumberedEvent]())
        let timings: Mutex<Timings>
        let loads: Mutex<IntervalLoads>
        /// Of the newest intervals, which experts with a capacity drop.
        let droppedShares = Mutex([Double]())
        let tokensPerSecond = Mutex<Double?>(nil)

        init(name: String = "shakespeare") {
            samples = CtlSamples(now: .now(), name: name)
            shown = Mutex(samples.shown)
            timings = Mutex(samples.timings)
            loads = Mutex(samples.loads)
        }

        /// 60 layers of 256 experts on 1,024 ranks, of which one expert and one rank have more to do than others.
        func grow() {
            loads.withLock {
                $0.expertLoads = [[Int]](repeating: [Int](repeating: 100, count: 256), count: 60)
                $0.expertLoads[59][255] = 1000
            }
            timings.withLock { timings in
                let rank = timings.ranks[0]
                timings.ranks = (0..<1024).map { number in
                    var rank = rank
                    rank.rank = number
                    rank.seconds[3] = number == 700 ? 0.04 : 0.01
                    return rank
                }
            }
        }

        /// Events, with what is said of each.
        func add(_ reasons: [String]) {
            addedEvents.withLock { events in
                for why in reasons {
                    let event = RunEvent(
                        kind: .planWithdrawn, at: .now(), incarnation: 2, revision: 5, who: "rank 0 on node-1", why: why
                    )
                    events.append(NumberedEvent(number: 100 + events.count, event: event))
                }
            }
        }

        func answer(_ request: AnyRequest) throws(ControlError) -> any ControlMessage {
            if isAway.withLock({ $0 }) { throw CtlStubCoordinator.hangUp }
            if isDeleted.withLock({ $0 }) { throw ControlError(.unknownRun, "it was deleted") }
            switch request {
            case .showRun:
                _ = try samples.answer(request)
                return shown.withLock { $0 }
            case .listEvents(let request):
                let all = samples.numberedEvents + addedEvents.withLock { $0 }
                guard let after = request.after else {
                    return Events(run: "shakespeare", events: all.suffix(request.limit ?? .max), truncated: false)
                }
                let page = all.filter { $0.number > after }
                return Events(run: "shakespeare", events: Array(page.prefix(2)), truncated: page.count > 2)
            case .listIntervals:
                guard var intervals = try samples.answer(request) as? Intervals else { break }
                for (index, share) in droppedShares.withLock({ $0 }).reversed().enumerated() {
                    intervals.intervals[intervals.intervals.count - 1 - index].droppedShare = share
                }
                if let rate = tokensPerSecond.withLock({ $0 }) {
                    for index in intervals.intervals.indices { intervals.intervals[index].tokensPerSecond = rate }
                }
                return intervals
            case .showTimings: return timings.withLock { $0 }
            case .listLoads: return Loads(run: "shakespeare", loads: [loads.withLock { $0 }], truncated: false)
            default: break
            }
            return try samples.answer(request)
        }
    }

    private let stage: Stage
    private let coordinator: CtlStubCoordinator
    private let arguments: [String]

    init() throws {
        let stage = Stage()
        self.stage = stage
        coordinator = try CtlStubCoordinator { (request) throws(ControlError) in try stage.answer(request) }
        arguments = ["watch", "shakespeare", "--coordinator", coordinator.address, "--interval", "0.1"]
    }

    /// What is on the page at several sizes, and nothing that is wider or higher.
    @Test(
        arguments: [
            (100, 40), (80, 24), (160, 50), (200, 50), (120, 40), (60, 30), (40, 36), (40, 10), (20, 5), (1, 1),
        ])
    func page(columns: Int, rows: Int) throws {
        defer { coordinator.stop() }
        let session = try TerminalSession(arguments, columns: columns, rows: rows)
        // A page may come in pieces, the first time, and what the shell printed is on another screen.
        var last = ""
        let page = try session.wait { screen in
            let isWhole = screen == last && screen.contains(/[^\n]/)
            last = try session.isFullScreen() ? screen : ""
            return isWhole
        }
        try expectGolden(page, "watch/\(columns)x\(rows).txt")
        #expect(try session.isFullScreen())
    }

    /// However it ends, the terminal is as it was before, and the shell knows how it ended.
    @Test(
        arguments: [("q", nil, 0), ("C-c", nil, 130), (nil, SIGTERM, 143), (nil, SIGHUP, 129), (nil, SIGINT, 130)]
            as [(String?, Int32?, Int)])
    func theTerminalComesBack(key: String?, signal: Int32?, status: Int) throws {
        defer { coordinator.stop() }
        for command in [arguments, ["run", "list", "--watch"] + arguments.dropFirst(2)] {
            let session = try TerminalSession(command)
            try session.wait(for: "shakespeare")
            #expect(try session.isFullScreen())
            if let key { try session.press(key) }
            if let signal { try session.send(signal) }
            let screen = try session.wait(for: "icanon")
            // The shell may have a word for the signal.
            #expect(screen.hasPrefix("before\n") && screen.contains("ended \(status)\nicanon\n"), "\(screen)")
            #expect(!screen.contains("shakespeare"), "\(screen)")
            #expect(try !session.isFullScreen())
        }
    }

    @Test func itStopsAndGoesOn() throws {
        defer { coordinator.stop() }
        let session = try TerminalSession(arguments)
        try session.wait(for: "shakespeare")
        try session.press("C-z")
        try session.wait { _ in try !session.isFullScreen() }
        try session.send(SIGCONT)
        try session.wait { try $0.hasPrefix("shakespeare") && session.isFullScreen() }
    }

    @Test func itFollowsTheTerminalsSize() throws {
        defer { coordinator.stop() }
        let session = try TerminalSession(arguments + ["--interval", "1000"], columns: 60, rows: 8)
        let small = try session.wait(for: "shakespeare")
        #expect(!small.contains("plan_activated"))
        try session.resize(columns: 120, rows: 45)
        let large = try session.wait(for: "plan_activated")
        #expect(large.contains("TOKENS OF EXPERTS"))
    }

    @Test func coloursAreForThoseWhoWantThem() throws {
        defer { coordinator.stop() }
        for (variables, isColored) in [([:], true), (["NO_COLOR": "1"], false)] as [([String: String], Bool)] {
            let session = try TerminalSession(arguments, variables: variables)
            try session.wait(for: "shakespeare")
            #expect(try session.screen(isColored: true).contains("\u{1b}[38;5;") == isColored)
        }
    }

    /// What is old says so, and what comes shows.
    @Test func staleAndDisconnectedStates() throws {
        defer { coordinator.stop() }
        let session = try TerminalSession(arguments, columns: 160)
        try session.wait(for: "stale: nothing was reported for 12m")
        stage.shown.withLock { $0.summary.reportedAt = .now() }
        try session.wait { !$0.contains("stale") }
        stage.isAway.withLock { $0 = true }
        try session.wait(for: "disconnected for ")
        try session.wait(for: ", trying again: ")
        stage.shown.withLock {
            $0.summary.state = .failed
            $0.reason = "rank 3: the loss is not finite"
        }
        stage.isAway.withLock { $0 = false }
        let page = try session.wait { !$0.contains("disconnected") }
        #expect(page.contains("  failed  ") && page.contains("\nrank 3: the loss is not finite\n"), "\(page)")
    }

    /// Names and reasons that come from elsewhere do not command the terminal.
    @Test func escapesAreNotObeyed() throws {
        defer { coordinator.stop() }
        stage.shown.withLock { $0.reason = "a\u{1b}[2Jb\u{7}\u{9b}31mc" }
        let session = try TerminalSession(arguments, columns: 160)
        let page = try session.wait(for: "\na·[2Jb··31mc\n")
        #expect(page.hasPrefix("shakespeare"))
    }

    /// 60 layers of 256 experts on 1,024 ranks: the busiest expert and the slowest rank are to be seen.
    @Test func largeRunsFit() throws {
        defer { coordinator.stop() }
        stage.grow()
        let session = try TerminalSession(arguments, columns: 80, rows: 24)
        let page = try session.wait(for: "shakespeare")
        let lines = page.split(separator: "\n")
        #expect(lines.filter { $0.contains("40.0 ms") && $0.contains("███") }.count == 1, "\(page)")
        #expect(lines.filter { $0.contains("█ 0.1") }.count == 1, "\(page)")
        #expect(page.contains("-59 ") && page.contains("-1023 "), "\(page)")
    }

    /// Whatever is long: how old all is stays whole, and so does what a plan was to bring, brought and took. What ends early says so.
    @Test(arguments: [40, 60, 80, 120, 200]) func nothingIsCutInSilence(columns: Int) throws {
        coordinator.stop()
        let name = String(repeating: "long-name-", count: 12) + "of-a-run"
        let stage = Stage(name: name)
        let coordinator = try CtlStubCoordinator { (request) throws(ControlError) in try stage.answer(request) }
        defer { coordinator.stop() }
        stage.grow()
        stage.tokensPerSecond.withLock { $0 = 1e9 }
        stage.shown.withLock { $0.reason = String(repeating: "bad luck ", count: 100) + "at last" }
        stage.add([String(repeating: "why not? ", count: 100) + "because"])
        let lines = try TerminalSession(
            ["watch", name, "--coordinator", coordinator.address], columns: columns, rows: 50
        ).wait { $0.contains("run_registered") && $0.contains("plan_withdrawn") }.split(separator: "\n")

        #expect(columns > name.count || lines[0] == name.prefix(columns - 1) + "…", "\(lines)")
        let title = lines[columns > name.count ? 0 : 1]
        #expect(title.contains("running  reported 12m ago  step 1200"), "\(lines)")
        for text in ["bad luck ", "plan_withdrawn"] {
            let line = try #require(lines.first { $0.contains(text) })
            #expect(line.hasSuffix("…") && line.count == columns, "\(line)")
        }
        // Whole cells, below whole headers.
        let header = try #require(lines.firstIndex { $0.contains("PREDICTED") })
        let active = lines[header + 3]
        #expect(active.contains("0.547 → 0.982   0.552 → 0.963"), "\(lines)")
        #expect(columns == 40 || active.contains(" 12.3 ms"), "\(lines)")
        #expect(lines[header].split(separator: " ").allSatisfy { Self.planHeaders.contains(String($0)) }, "\(lines)")
        let rate = try #require(lines.first { $0.hasPrefix("tokens/s ") })
        #expect(rate.hasSuffix(columns == 40 ? "▅ 1000000000" : "▅ 1000000000 of 1000000000 to 1000000000"), "\(lines)")
        #expect(lines.contains { $0.contains(" 40.0 ms  57.3 ms") }, "\(lines)")
        #expect(lines.contains { $0.hasSuffix("█ 0.104") }, "\(lines)")
    }

    private static let planHeaders: Set = [
        "REVISION", "STATE", "STEP", "LAYERS", "PREDICTED", "MEASURED", "MOVED", "TIME", "AGE", "WHO", "WHY",
    ]

    /// A terminal of the usual size has what the letters and shades stand for, and lines as wide as itself.
    @Test func legendsFit() throws {
        defer { coordinator.stop() }
        let lines = try TerminalSession(arguments, columns: 80, rows: 24).wait(for: "run_registered")
            .split(separator: "\n")
        #expect(lines.contains { $0.hasSuffix(" att rou dis exp com gra opt") }, "\(lines)")
        #expect(lines.contains { $0.hasSuffix("  of the mean:  <0.4 ░<0.8 ▒<1.2 ▓<1.6 █more") }, "\(lines)")
        #expect(lines.contains { $0.count == 80 }, "\(lines)")
    }

    /// What experts with a capacity drop has a curve, which other runs do without.
    @Test func whatExpertsDrop() throws {
        defer { coordinator.stop() }
        stage.droppedShares.withLock { $0 = [0.25, 0, 0.125] }
        let page = try TerminalSession(arguments).wait(for: "dropped")
        #expect(page.contains(/\ndropped .*█.* 12\.5% of 0\.0% to 25\.0%\n/), "\(page)")
        stage.shown.withLock { $0.summary.state = .completed }
        let call = try CtlProgram(arguments)
        #expect(call.output.contains("balance 0.963  dropped 12.5%  plan 3\n"), "\(call.output)")
    }

    // MARK: - Without a page

    /// A terminal that cannot move its cursor gets lines.
    @Test func dumbTerminalsGetLines() throws {
        defer { coordinator.stop() }
        let session = try TerminalSession(arguments, columns: 160, terminal: "dumb")
        let screen = try session.wait(for: "step 1200  loss 1.6672")
        #expect(screen.hasPrefix("before\n"))
        #expect(try !session.isFullScreen())
        stage.shown.withLock { $0.summary.state = .completed }
        try session.wait(for: "ended 0")
    }

    @Test func pipesGetLines() throws {
        defer { coordinator.stop() }
        stage.shown.withLock { $0.summary.state = .completed }
        let call = try CtlProgram(arguments)
        #expect(call.status == 0 && call.errors.isEmpty, "\(call.errors)")
        let lines = call.output.split(separator: "\n")
        #expect(lines.count == 10 && !call.output.contains("\u{1b}"), "\(call.output)")
        #expect(
            lines.last?.hasSuffix("UTC  step 1200  loss 1.6672  17831 tokens/s  step 57.3 ms  balance 0.963  plan 3")
                == true, "\(call.output)")
    }

    /// A job that was killed tells nobody. The lines do, once, and when reports come again.
    @Test func linesTellThatNothingComes() throws {
        defer { coordinator.stop() }
        let program = try RunningProgram("moe-ctl", arguments, variables: ["MOE_CTL_CONFIG": ""])
        defer { program.terminate() }
        let stale = "UTC  stale: nothing was reported for 12m, though the run has not ended"
        #expect(program.readLine(containing: stale) != nil, "\(program.text)")
        stage.shown.withLock { $0.summary.reportedAt = .now() }
        #expect(program.readLine(containing: "UTC  reports come again") != nil, "\(program.text)")
        stage.shown.withLock { $0.summary.state = .completed }
        #expect(program.waitForEnd() == 0, "\(program.text)")
        for words in ["stale: ", "reports come again"] {
            #expect(program.text.split(separator: "\n").count { $0.contains(words) } == 1, "\(program.text)")
        }
    }

    @Test(
        arguments: [
            (["run", "list"], "RUN "), (["worker", "list"], "RUN "), (["placement", "history"], "REVISION "),
            (["event", "list"], "TIME "), (["placement", "show"], "RUN "), (["checkpoint", "list"], "STEP "),
            (["run", "list", "-o", "json"], "{"),
            (["run", "list", "-o", "yaml"], "runs:"),
        ] as [([String], String)])
    func listingsComeAgain(command: [String], beginning: String) throws {
        defer { coordinator.stop() }
        let run = command[0] == "run" ? [] : ["--run", "shakespeare"]
        let program = try RunningProgram(
            "moe-ctl", command + run + ["--watch", "--interval", "0.1", "--coordinator", coordinator.address],
            variables: ["MOE_CTL_CONFIG": ""])
        defer { program.terminate() }
        for _ in 0..<3 { #expect(program.readLine(after: beginning) != nil, "\(program.text)") }
        // It goes on when the coordinator is there again.
        stage.isAway.withLock { $0 = true }
        #expect(program.readLine(containing: "trying again") != nil, "\(program.text)")
        stage.isAway.withLock { $0 = false }
        #expect(program.readLine(after: beginning) != nil, "\(program.text)")
        #expect(!program.text.contains("\u{1b}"))
    }

    /// Events are printed once each, over pages and over a coordinator that was away; an interrupt is no failure.
    @Test(arguments: ["table", "json", "yaml"]) func eventsAreFollowed(format: String) throws {
        defer { coordinator.stop() }
        let program = try RunningProgram(
            "moe-ctl",
            [
                "event", "list", "--follow", "--run", "shakespeare", "--interval", "0.1", "--limit", "1", "-o", format,
                "--coordinator", coordinator.address,
            ], variables: ["MOE_CTL_CONFIG": ""])
        defer { program.terminate() }
        #expect(program.readLine(containing: "plan_activated") != nil, "\(program.text)")
        stage.add((0..<5).map { "first \($0)" })
        #expect(program.readLine(containing: "first 4") != nil, "\(program.text)")
        stage.isAway.withLock { $0 = true }
        #expect(program.readLine(containing: "trying again") != nil, "\(program.text)")
        stage.add(["second"])
        stage.isAway.withLock { $0 = false }
        #expect(program.readLine(containing: "second") != nil, "\(program.text)")
        program.send(SIGINT)
        #expect(program.waitForEnd() == 0, "\(program.text)")
        let lines = program.text.split(separator: "\n")
        for word in ["plan_activated", "first 0", "first 1", "first 2", "first 3", "first 4", "second"] {
            #expect(lines.count { $0.contains(word) } == 1, "\(word): \(program.text)")
        }
        #expect(!program.text.contains("\u{1b}") && !program.text.contains("run_registered"), "\(program.text)")
        guard format == "table" else { return }
        // Rows of one table.
        let column = try #require(lines.first).range(of: "WHO")?.lowerBound.utf16Offset(in: lines[0])
        for line in lines where !line.hasPrefix("Note: ") && !line.hasPrefix("TIME ") {
            #expect(line.range(of: "rank 0")?.lowerBound.utf16Offset(in: line) == column, "\(program.text)")
        }
    }

    /// Whatever asking again does not mend ends what is not on a page.
    @Test(
        arguments: [
            (["watch", "shakespeare"], "step 1200"),
            (["event", "list", "--follow", "--run", "shakespeare"], "plan_activated"),
        ] as [([String], String)])
    func itEndsWithTheRun(command: [String], last: String) throws {
        defer { coordinator.stop() }
        let program = try RunningProgram(
            "moe-ctl", command + ["--interval", "0.1", "--coordinator", coordinator.address],
            variables: ["MOE_CTL_CONFIG": ""])
        defer { program.terminate() }
        #expect(program.readLine(containing: last) != nil, "\(program.text)")
        stage.isDeleted.withLock { $0 = true }
        #expect(program.waitForEnd() == 1 && program.text.contains("Error: it was deleted"), "\(program.text)")
    }

    @Test func whatCannotBeWatched() throws {
        defer { coordinator.stop() }
        for (command, status, words) in [
            (["watch", "nobody"], 1, "run nobody is not known"), (["watch", "--interval", "0"], 64, "--interval"),
            (["run", "list", "--watch", "--interval", "-1"], 64, "--interval"),
            (["event", "list", "--watch", "--follow"], 64, "--follow or --watch"),
            (["watch", "--interval", "nan"], 64, "--interval"),
        ] as [([String], Int32, String)] {
            let call = try CtlProgram(command + ["--coordinator", coordinator.address])
            #expect(call.status == status && call.errors.contains(words), "\(call.errors)")
        }
        let away = try CtlStubCoordinator(isAway: true, stage.samples.answer)
        let call = try CtlProgram(["watch", "--coordinator", away.address])
        #expect(call.status == 69 && call.output.isEmpty, "\(call.errors)")
    }
}
