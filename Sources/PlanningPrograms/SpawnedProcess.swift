import CGlibc
import Foundation

/// A child process, the first of a process group, and the pipes from it.
///
/// Foundation's `Process` is not used, because it collects the exit status by itself, after which nobody can be sure any
/// more that the number of the process group still means this one.
final class SpawnedProcess {
    /// The variables by which systemd speaks to one process. Its children are not meant.
    private static let variablesOfSystemd: Set = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"]

    private let id: pid_t
    private let output: FileHandle
    private let errors: FileHandle
    private var outputIsOpen = true
    private var errorsAreOpen = true
    private var status: ExitStatus?

    /// - Parameter input: all that it can read from its standard input, which is a file, so that a program that does not
    ///   read it holds nobody up.
    init(_ command: [String], input: Data) throws(ExternalProgramError) {
        do {
            let file = try Self.temporaryFile(input)
            let (output, errors) = try (Self.pipe(), Self.pipe())
            id = try Self.spawn(command, descriptors: [file, output.writing, errors.writing])
            self.output = output.reading
            self.errors = errors.reading
        } catch {
            throw ExternalProgramError(.notStarted("\(command.first ?? ""): \(error)"))
        }
    }

    deinit { end() }

    /// Waits until there is something to read, or a pipe was closed; `limit` at most.
    func waitForOutput(_ limit: Duration) {
        // Descriptors below 0 are left out.
        var watched = [
            pollfd(fd: outputIsOpen ? output.fileDescriptor : -1, events: Int16(POLLIN), revents: 0),
            pollfd(fd: errorsAreOpen ? errors.fileDescriptor : -1, events: Int16(POLLIN), revents: 0),
        ]
        poll(&watched, nfds_t(watched.count), Int32(limit / .milliseconds(1)))
    }

    /// Reads some of what is there, without waiting.
    /// - Returns: whether anything was there.
    func read(into output: inout Data, _ errors: inout Data) -> Bool {
        let wrote = outputIsOpen && Self.read(self.output, into: &output, isOpen: &outputIsOpen)
        let complained = errorsAreOpen && Self.read(self.errors, into: &errors, isOpen: &errorsAreOpen)
        return wrote || complained
    }

    /// Whether it has exited. It stays a zombie until `end`, so that its number belongs to nobody else.
    var hasExited: Bool {
        var info = siginfo_t()
        let result = waitid(P_PID, id_t(id), &info, WEXITED | WNOHANG | WNOWAIT)
        return result == 0 ? info.si_signo == SIGCHLD : errno == ECHILD
    }

    /// Ends what is left of the group, at once.
    func endGroup() {
        if status == nil { kill(-id, SIGKILL) }
    }

    /// Ends what is left of the group, and collects the status.
    @discardableResult
    func end() -> ExitStatus {
        if let status { return status }
        endGroup()
        var word: Int32 = 0
        var result: pid_t
        repeat { result = waitpid(id, &word, 0) } while result == -1 && errno == EINTR
        let signal = word & 0x7f
        let status: ExitStatus =
            result == id && signal == 0 ? .exited((word >> 8) & 0xff) : .killed(signal: result == id ? signal : SIGKILL)
        self.status = status
        return status
    }

    private static func read(_ pipe: FileHandle, into data: inout Data, isOpen: inout Bool) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        let count = Foundation.read(pipe.fileDescriptor, &buffer, buffer.count)
        if count > 0 { data.append(contentsOf: buffer.prefix(count)) }
        if count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR) { isOpen = false }
        return count > 0
    }

    private static func pipe() throws -> (reading: FileHandle, writing: FileHandle) {
        var ends: [Int32] = [-1, -1]
        try check(Foundation.pipe(&ends))
        let files = ends.map { FileHandle(fileDescriptor: $0, closeOnDealloc: true) }
        for end in ends { try check(fcntl(end, F_SETFD, FD_CLOEXEC)) }
        try check(fcntl(ends[0], F_SETFL, O_NONBLOCK))
        return (files[0], files[1])
    }

    /// A file without a name that holds `data` and is read from its start.
    private static func temporaryFile(_ data: Data) throws -> FileHandle {
        var path = Array(FileManager.default.temporaryDirectory.appending(path: "moe-exec-XXXXXX").path.utf8CString)
        let descriptor = mkstemp(&path)
        try check(descriptor)
        unlink(path)
        let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        try check(fcntl(descriptor, F_SETFD, FD_CLOEXEC))
        try file.write(contentsOf: data)
        try file.seek(toOffset: 0)
        return file
    }

    /// - Parameter descriptors: what is to be 0, 1, 2 there; nothing else stays open.
    private static func spawn(_ command: [String], descriptors: [FileHandle]) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (number, file) in descriptors.enumerated() {
            try check(code: posix_spawn_file_actions_adddup2(&actions, file.fileDescriptor, Int32(number)))
        }
        try check(code: posix_spawn_file_actions_addclosefrom_np(&actions, Int32(descriptors.count)))
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // Signals that this process ignores or holds back, such as SIGPIPE, are the program's own affair.
        var signals = sigset_t()
        sigemptyset(&signals)
        try check(code: posix_spawnattr_setsigmask(&attributes, &signals))
        for signal in [SIGPIPE, SIGINT, SIGTERM, SIGHUP] { sigaddset(&signals, signal) }
        try check(code: posix_spawnattr_setsigdefault(&attributes, &signals))
        let flags = POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK
        try check(code: posix_spawnattr_setflags(&attributes, Int16(flags)))

        var arguments = command.map { strdup($0) } + [nil]
        let variables = ProcessInfo.processInfo.environment.filter { !Self.variablesOfSystemd.contains($0.key) }
        var environment = variables.map { strdup("\($0)=\($1)") } + [nil]
        defer { for text in arguments + environment { free(text) } }
        var id: pid_t = 0
        try check(code: posix_spawnp(&id, command.first ?? "", &actions, &attributes, &arguments, &environment))
        return id
    }

    private static func check(_ result: Int32) throws {
        if result < 0 { throw SystemError(code: errno) }
    }

    private static func check(code: Int32) throws {
        if code != 0 { throw SystemError(code: code) }
    }

    private struct SystemError: Error, CustomStringConvertible {
        let code: Int32
        var description: String { String(cString: strerror(code)) }
    }
}
