;; What a compiler makes of a program for WASI: it writes a greeting to stdout and asks for random bytes.
(func $describe (result i32) (i32.const 2048))
(func $print
  (i32.store (i32.const 800) (i32.const 1024))
  (i32.store (i32.const 804) (i32.const 5))
  (drop (call $fd_write (i32.const 1) (i32.const 800) (i32.const 1) (i32.const 808))))
(func $seed (drop (call $random_get (i32.const 816) (i32.const 8))))
(func $run (param i32 i32) (result i32)
  (call $print)
  (call $seed)
  (i32.const 512))
