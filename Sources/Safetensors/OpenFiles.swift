import Foundation

/// The files that were read last, of more than a process may have open.
public final class OpenFiles {
    /// As many ranks' files as most jobs have; a process may have 1,024 open, as a rule.
    public static let limit = 128

    /// The last one read is the last.
    private var handles = [(path: String, handle: FileHandle)]()

    public init() {}

    subscript(path: String) -> FileHandle? {
        guard let index = handles.lastIndex(where: { $0.path == path }) else { return nil }
        let found = handles.remove(at: index)
        handles.append(found)
        return found.handle
    }

    func add(_ handle: FileHandle, path: String) {
        if handles.count == Self.limit { handles.removeFirst() }
        handles.append((path, handle))
    }
}
