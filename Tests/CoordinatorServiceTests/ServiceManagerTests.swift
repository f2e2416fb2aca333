import ControlProtocol
import ControlTestSupport
import CoordinatorService
import Foundation
import GRDB
import Testing

/// The coordinator as a service of systemd's.
@Suite(.serialized) struct ServiceManagerTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private var names: [String] { [folder.path("notify"), "@moe-test-\(UUID().uuidString)"] }

    @Test func tellsThatItIsReadyLivesAndStops() async throws {
        for name in names {
            let socket = try NotifySocket(name)
            let program = try CoordinatorProgram(
                ["serve", "--database", folder.path("moe.db"), "--listen", "127.0.0.1:0"],
                environment: ["NOTIFY_SOCKET": name, "WATCHDOG_USEC": "200000"])
            try await blocking {
                #expect(socket.next() == "READY=1\nSTATUS=Ready.")
                for _ in 0..<3 { #expect(socket.next() == "WATCHDOG=1\nSTATUS=Ready.") }
            }
            #expect(program.end(SIGTERM).status == 0)
            #expect(try await blocking { socket.waits(for: "STOPPING=1") })
        }
    }

    @Test func whatARestartDoesNotCureIsOnlyTold() async throws {
        let socket = try NotifySocket(folder.path("notify"))
        let manager = try #require(
            ServiceManager(environment: ["NOTIFY_SOCKET": socket.name, "WATCHDOG_USEC": "4000"]))
        #expect(manager.watchdogInterval == .milliseconds(4))
        func messages(_ name: String) async throws -> [String?] {
            let watch = Task { await manager.watch { [.init(name: name, failure: "full")] } }
            defer { watch.cancel() }
            return try await blocking { [socket.next(), socket.next()] }
        }
        #expect(
            try await messages("disk-space").allSatisfy { $0 == "WATCHDOG=1\nSTATUS=Not ready: disk-space: full" })
    }

    @Test(arguments: ["database-readable", "planning"])
    func aSickCoordinatorDoesNotPetTheWatchdog(check: String) async throws {
        let socket = try NotifySocket(folder.path("notify"))
        let manager = try #require(
            ServiceManager(environment: ["NOTIFY_SOCKET": socket.name, "WATCHDOG_USEC": "4000"]))
        let watch = Task { await manager.watch { [.init(name: check, failure: "no answer")] } }
        defer { watch.cancel() }
        let message = try await blocking { socket.next() }
        #expect(message == "STATUS=Not ready: \(check): no answer")
    }

    /// The database of a live coordinator hangs for a while.
    @Test func aDatabaseThatHangsKeepsTheWatchdogWaiting() async throws {
        let socket = try NotifySocket(folder.path("notify"))
        let manager = try #require(
            ServiceManager(environment: ["NOTIFY_SOCKET": socket.name, "WATCHDOG_USEC": "400000"]))
        var limits = Limits()
        limits.healthCheckTime = .milliseconds(100)
        try await LiveCoordinator.run(limits: limits, serviceManager: manager) { coordinator in
            #expect(try await blocking { socket.next() } == "READY=1\nSTATUS=Ready.")
            let (hold, release) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
            let holder = Task {
                try await coordinator.store.queue.read { _ in
                    hold.signal()
                    release.wait()
                }
            }
            let told = try await blocking {
                hold.wait()
                // One may have been on its way.
                let messages = [socket.next(), socket.next(), socket.next()]
                release.signal()
                return messages
            }
            try await holder.value
            #expect(
                told.dropFirst().allSatisfy { $0?.hasPrefix("STATUS=Not ready: database-readable: ") == true },
                "\(told)")
            #expect(try await blocking { socket.waits(for: "WATCHDOG=1") })
        }
        #expect(try await blocking { socket.waits(for: "STOPPING=1") })
    }

    @Test func onlyTheProcessThatIsMeantListens() {
        let socket = ["NOTIFY_SOCKET": "/nowhere"]
        func interval(_ changes: [String: String]) -> Duration? {
            ServiceManager(environment: socket.merging(changes) { $1 })?.watchdogInterval
        }
        #expect(interval(["WATCHDOG_USEC": "30000000"]) == .seconds(30))
        #expect(interval(["WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "\(getpid())"]) == .seconds(30))
        #expect(interval(["WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"]) == nil)
        for value in ["", "0", "-1", "soon", "99999999999999999999"] {
            #expect(interval(["WATCHDOG_USEC": value]) == nil)
        }
        #expect(ServiceManager(environment: [:]) == nil)
        let names = [
            "", "notify", "@", "/" + String(repeating: "x", count: 200), "@" + String(repeating: "x", count: 200),
        ]
        for name in names { #expect(ServiceManager(environment: ["NOTIFY_SOCKET": name]) == nil, "\(name)") }
    }

    /// systemd that is away keeps nobody from serving.
    @Test func aSocketThatIsGoneIsNoReasonToEnd() throws {
        let program = try CoordinatorProgram(
            ["serve", "--database", folder.path("moe.db"), "--listen", "127.0.0.1:0"],
            environment: ["NOTIFY_SOCKET": folder.path("nothing"), "WATCHDOG_USEC": "200000"])
        #expect(try PlainClient(port: program.port).ask("list_runs")["type"] == "runs")
        #expect(program.end(SIGTERM).status == 0)
        #expect(program.restOfOutput().contains("cannot tell systemd"))
    }
}
