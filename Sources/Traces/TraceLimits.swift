/// What traces may have at most; the sizes of models, worlds and plans are those of the control protocol's `Limits`.
public enum TraceLimits {
    /// Bytes of one line. Holds the largest plan and the timings of the largest world.
    public static let lineBytes = 64 << 20
    /// Lines of a file.
    public static let lines = 10_000_000
    /// Bytes of a file that is read as a whole: a matrix in JSON, or tensors.
    public static let fileBytes = 2 << 30
    /// Numbers of one tensor.
    public static let elements = 1 << 30
    /// Lists, entries of dictionaries and tensors of a .pt file.
    public static let items = 1 << 22
    /// Text about where a trace comes from, in bytes of UTF-8.
    public static let sourceBytes = 1_024
}
