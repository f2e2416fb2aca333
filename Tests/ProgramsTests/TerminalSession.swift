import Foundation
import Testing

/// `moe-ctl` on a terminal: tmux's, which a shell runs in.
final class TerminalSession {
    private let tmux: [String]
    private let folder = FileManager.default.temporaryDirectory.appending(path: "tmux-\(UUID().uuidString)")
    private var environment = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("MOE_") }

    /// - Parameters:
    ///   - terminal: what `TERM` says.
    ///   - arguments: of `moe-ctl`. Before it the shell prints `before`, and after it `ended N`, its status.
    init(
        _ arguments: [String], columns: Int = 100, rows: Int = 30, terminal: String = "screen",
        variables: [String: String] = [:]
    ) throws {
        let missing = ShellCommand.missing("tmux")
        try #require(missing.isEmpty, "deploy/setup.sh test installs tmux")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
        tmux = ["tmux", "-u", "-S", folder.appending(path: "socket").path, "-f", "/dev/null"]
        environment["LC_ALL"] = "C.UTF-8"
        environment["TMUX"] = nil
        environment["NO_COLOR"] = nil
        environment["MOE_CTL_CONFIG"] = ""
        environment.merge(variables) { $1 }
        let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let program = URL(fileURLWithPath: tests).deletingLastPathComponent().appending(path: "moe-ctl").path
        // The inner shell becomes the program, whose number is known then; the outer one outlives Control-C.
        let script = """
            trap : INT
            stty -echoctl
            echo before
            sh -c 'echo $$ >\(folder.path)/pid; TERM=\(terminal) exec "$@"' sh \(program) \
            \(arguments.map { "'\($0)'" }.joined(separator: " "))
            echo ended $?
            stty -a | grep -o -- '-\\?icanon'
            exec cat
            """
        // The server stays, and must not keep what Foundation waits for the end of a process with.
        let closing = """
            for open in /proc/$$/fd/*; do open=${open##*/}; if [ $open -gt 2 ]; then eval "exec $open>&-"; fi; done
            exec "$@"
            """
        let start = ["new-session", "-d", "-x", "\(columns)", "-y", "\(rows)", "sh", "-c", script]
        let call = try ShellCommand(["bash", "-c", closing, "bash"] + tmux + start, environment: environment)
        guard call.status == 0 else { throw Failure(description: "tmux: \(call.output)") }
    }

    deinit {
        _ = try? run("kill-server")
        try? FileManager.default.removeItem(at: folder)
    }

    @discardableResult
    private func run(_ command: String...) throws -> String {
        let call = try ShellCommand(tmux + command, environment: environment)
        guard call.status == 0 else { throw Failure(description: "tmux \(command): \(call.output)") }
        return call.output
    }

    /// What is to be seen, without blanks at the ends of lines.
    /// - Parameter isColored: with the commands for colours.
    func screen(isColored: Bool = false) throws -> String {
        try isColored ? run("capture-pane", "-p", "-e") : run("capture-pane", "-p")
    }

    /// Whether the program shows the other screen, without a cursor.
    func isFullScreen() throws -> Bool {
        try run("display-message", "-p", "#{alternate_on} #{cursor_flag}") == "1 0\n"
    }

    /// The screen, once it has `text`.
    @discardableResult
    func wait(for text: String) throws -> String { try wait { $0.contains(text) } }

    /// The screen, once it is as it should be.
    @discardableResult
    func wait(until isRight: (String) throws -> Bool) throws -> String {
        let deadline = ContinuousClock.now + .seconds(60)
        while true {
            let screen = try screen()
            if try isRight(screen) { return screen }
            guard ContinuousClock.now < deadline else { throw Failure(description: "still on the screen:\n\(screen)") }
            usleep(20_000)
        }
    }

    func press(_ key: String) throws { try run("send-keys", key) }

    func resize(columns: Int, rows: Int) throws {
        try run("resize-window", "-x", "\(columns)", "-y", "\(rows)")
    }

    func send(_ signal: Int32) throws {
        let text = try String(contentsOf: folder.appending(path: "pid"), encoding: .utf8)
        let number = try #require(Int32(text.dropLast()))
        kill(number, signal)
    }

    struct Failure: Error, CustomStringConvertible {
        let description: String
    }
}
