import Dispatch
import Foundation
import Glibc
import Synchronization
import UnixSignals

/// The terminal on standard output, for pages that fill it. What was there comes back at the end, however that comes.
final class Terminal: Sendable {
    struct Size: Sendable, Hashable {
        var columns: Int
        var rows: Int
    }

    /// Fits itself to a size.
    typealias Page = @Sendable (Size) -> [StyledLine]

    private enum Event: Sendable {
        case page(Page)
        case keys([UInt8])
        case signal(UnixSignal)
    }

    private let isColored: Bool
    /// How the keyboard was set; nil: standard input is none.
    private let settings: Mutex<termios?>

    /// Nil when standard output is no terminal, or one that only appends (`TERM=dumb`).
    init?(environment: [String: String] = ProcessInfo.processInfo.environment) {
        guard isatty(STDOUT_FILENO) == 1, let kind = environment["TERM"], !kind.isEmpty, kind != "dumb" else {
            return nil
        }
        // https://no-color.org
        isColored = environment["NO_COLOR"]?.isEmpty ?? true
        var settings = termios()
        self.settings = Mutex(isatty(STDIN_FILENO) == 1 && tcgetattr(STDIN_FILENO, &settings) == 0 ? settings : nil)
    }

    /// Shows the page that `look` makes, again and again, until `q` is pressed. A signal that asks the process to end does end it.
    func show(every interval: Duration, _ look: @escaping @Sendable () async -> Page) async {
        let (events, continuation) = AsyncStream.makeStream(of: Event.self)
        if settings.withLock({ $0 != nil }) { Self.readKeys { continuation.yield(.keys($0)) } }
        let signals = await UnixSignalsSequence(
            trapping: .sigint, .sigterm, .sighup, .sigquit, .sigwinch, .sigcont)
        enter()
        await withTaskGroup { group in
            group.addTask {
                while !Task.isCancelled {
                    continuation.yield(.page(await look()))
                    try? await Task.sleep(for: interval)
                }
            }
            group.addTask { for await signal in signals { continuation.yield(.signal(signal)) } }
            var page: Page = { _ in [] }
            showing: for await event in events {
                switch event {
                case .page(let next): page = next
                case .keys(let keys):
                    if keys.contains(UInt8(ascii: "q")) { break showing }
                    // Control-Z: the shell shows what was there, until it is told to go on.
                    if keys.contains(0x1A) { suspend() }
                case .signal(.sigwinch): break
                case .signal(.sigcont): enter()
                case .signal(let signal):
                    leave()
                    Self.end(by: signal)
                }
                draw(page)
            }
            leave()
            group.cancelAll()
        }
    }

    private static func readKeys(_ take: @escaping @Sendable ([UInt8]) -> Void) {
        let keyboard = DispatchSource.makeReadSource(fileDescriptor: STDIN_FILENO, queue: .global())
        keyboard.setEventHandler {
            var keys = [UInt8](repeating: 0, count: 64)
            let count = read(STDIN_FILENO, &keys, keys.count)
            if count > 0 { take(Array(keys.prefix(count))) } else { keyboard.cancel() }
        }
        keyboard.resume()
    }

    // MARK: - Drawing

    private static func size() -> Size {
        var size = winsize()
        guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0, size.ws_row > 0 else {
            return Size(columns: 80, rows: 24)
        }
        return Size(columns: Int(size.ws_col), rows: Int(size.ws_row))
    }

    /// In one piece, over what was there before: nothing flickers.
    private func draw(_ page: Page) {
        let size = Self.size()
        var lines = page(size).prefix(size.rows).map {
            $0.text(columns: size.columns, isColored: isColored, erasesRest: true)
        }
        if lines.count < size.rows { lines.append("\u{1b}[J") }
        write("\u{1b}[H" + lines.joined(separator: "\r\n"))
    }

    private func write(_ text: String) {
        // A terminal that has gone says so with a signal.
        try? FileHandle.standardOutput.write(contentsOf: Data(text.utf8))
    }

    // MARK: - Coming and going

    /// The other screen, without a cursor; keys come at once, and do not show.
    private func enter() {
        settings.withLock { settings in
            guard var own = settings else { return }
            own.c_lflag &= ~tcflag_t(ICANON | ECHO)
            withUnsafeMutableBytes(of: &own.c_cc) { $0[Int(VSUSP)] = 0 }
            tcsetattr(STDIN_FILENO, TCSANOW, &own)
        }
        // Lines that are too long are cut, not wrapped.
        write("\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l\u{1b}[2J")
    }

    private func leave() {
        write("\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l")
        settings.withLock { settings in
            if var settings { tcsetattr(STDIN_FILENO, TCSANOW, &settings) }
        }
    }

    private func suspend() {
        leave()
        kill(getpid(), SIGSTOP)
    }

    /// As if the signal had not been caught, so that a shell knows.
    private static func end(by signal: UnixSignal) -> Never {
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, signal.rawValue)
        Glibc.signal(signal.rawValue, SIG_DFL)
        pthread_sigmask(SIG_UNBLOCK, &signals, nil)
        raise(signal.rawValue)
        exit(128 + signal.rawValue)
    }
}
